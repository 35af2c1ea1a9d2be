// What turns gradients into new parameters, one per run: what the learner, the checkpoint and the
// plan know of an optimizer.
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

  // One update from the parameters' .grad, all of which are defined; `step` is 0-based, `lr` that
  // step's.
  virtual void Step(int64_t step, double lr) = 0;

  // What it remembers from step to step, "<part>.<parameter>" by name: what a checkpoint holds, and
  // what a resume fills in place.
  virtual const NamedTensors& state() const = 0;
  // Bytes of `state` for one parameter.
  virtual int64_t state_bytes_per_parameter() const = 0;
};

// The spec's optimizer, at its beginning. `parameters`: float32 leaves; shares their storage. None
// at all do where only its bytes are asked for.
std::unique_ptr<Optimizer> MakeOptimizer(const NamedTensors& parameters, const TrainSpec& spec);

}  // namespace lfm2
