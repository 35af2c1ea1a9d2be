// One model being trained: float32 master weights, the forward pass over them, gradients and the
// optimizer.
//
// The arithmetic is the served one: in bfloat16 the decoder sees a bfloat16 copy of the weights,
// made anew for every micro-batch inside the graph, so that gradients arrive and add up in float32.
// Nothing here brings a value to the host: the caller decides when to look at a loss. Runs on any
// device, meta included. Thread rule: one thread. Throws c10::Error.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "model/torch/decoder.h"
#include "model/train/optimizer.h"
#include "model/train/packing.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

class Learner {
 public:
  // `start`: the weights to train from; copied, so it may view a read-only file. `compute`: says
  // the type and the device of the forward pass; its tensors become those of the parameters.
  Learner(const ModelConfig& config, const NamedTensors& start, std::shared_ptr<Weights> compute,
          const TrainSpec& spec);
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // Adds the gradient of the batch's loss over `step_targets`, the predictions of the whole step,
  // and returns that loss: a float32 scalar on the device. The losses of a step's micro-batches add
  // up to its mean.
  at::Tensor AccumulateGradients(const PackedBatch& batch, int64_t step_targets);
  // Clips to spec.clip_norm when it is not 0, and returns the norm from before: a float32 scalar on
  // the device.
  at::Tensor ClipGradients();
  // By the spec's optimizer; `step` is 0-based. Drops the gradients.
  void Update(int64_t step, double lr);

  // Sum of the batch's losses without gradients.
  at::Tensor EvalLossSum(const PackedBatch& batch);

  const ModelConfig& config() const { return decoder_->config(); }
  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& optimizer_state() const { return optimizer_->state(); }
  // Overwrites parameters and the optimizer's state in place. kCheckpointCorrupt naming a tensor
  // that is not there or misshapen.
  absl::Status Restore(const TensorArchive& weights, const TensorArchive& optimizer_state);

 private:
  at::Tensor LossSum(const PackedBatch& batch);
  void CastParameters();

  double clip_norm_;
  NamedTensors parameters_;  // float32 leaves
  std::shared_ptr<Weights> compute_weights_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace lfm2
