// One model being trained: float32 master weights, the forward pass over them, gradients and the
// optimizer.
//
// The arithmetic is the same as in serving. With bfloat16, the decoder uses a bfloat16 copy of the
// weights, which is made for every micro-batch inside the autograd graph, so that gradients are
// accumulated in float32. Nothing here copies a value to the host: the caller decides when to read
// a loss. Runs on any device, meta included. Thread rule: one thread. Throws c10::Error.
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
  // `start`: the initial weights, which are copied, so they may be views of a read-only file.
  // `compute`: gives the type and the device of the forward pass; its tensors are replaced by the
  // parameters, converted to its type.
  Learner(const ModelConfig& config, const NamedTensors& start, std::shared_ptr<Weights> compute,
          const TrainSpec& spec);
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // Adds the gradient of the batch's summed loss divided by `step_targets`, the number of
  // predictions in the whole step. Returns that loss, a float32 scalar on the device. The losses of
  // a step's micro-batches add up to the step's mean loss.
  at::Tensor AccumulateGradients(const PackedBatch& batch, int64_t step_targets);
  // Clips to spec.clip_norm unless that is 0. Returns the norm before clipping, a float32 scalar on
  // the device.
  at::Tensor ClipGradients();
  // Runs the spec's optimizer and drops the gradients; `step` is 0-based.
  void Update(int64_t step, double lr);

  // Sum of the batch's losses, computed without gradients.
  at::Tensor EvalLossSum(const PackedBatch& batch);

  const ModelConfig& config() const { return decoder_->config(); }
  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& optimizer_state() const { return optimizer_->state(); }
  // Overwrites the parameters and the optimizer's state in place. kCheckpointCorrupt naming a
  // tensor that is missing or has the wrong type or shape.
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
