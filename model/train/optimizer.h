// The interface of an optimizer for the learner, checkpoints and plans; it updates the parameters
// from their gradients. One per run.
//
// Thread rule: one thread. Throws c10::Error.
#pragma once

#include <cstdint>
#include <memory>

#include "model/train/gradients.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Makes one update from the parameters' .grad, all of which must be defined; `step` is 0-based,
  // `lr` is the learning rate of that step.
  virtual void Step(int64_t step, double lr) = 0;

  // The state kept between steps, named "<part>.<parameter>". A checkpoint stores it, and a resume
  // overwrites it in place.
  virtual const NamedTensors& state() const = 0;
  // Bytes of `state` for one parameter.
  virtual int64_t state_bytes_per_parameter() const = 0;
};

// Makes the spec's optimizer in its initial state. `parameters`: float32 leaves, whose storage it
// shares; may be empty if only state_bytes_per_parameter is called.
std::unique_ptr<Optimizer> MakeOptimizer(const NamedTensors& parameters, const TrainSpec& spec);

}  // namespace lfm2
