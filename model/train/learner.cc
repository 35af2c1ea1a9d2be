#include "model/train/learner.h"

#include <torch/torch.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "model/train/loss.h"

namespace lfm2 {
namespace {

at::Tensor OnDevice(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(values, at::TensorOptions().dtype(at::kLong)).to(device);
}

absl::Status Fill(const TensorArchive& archive, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const TensorView* view = archive.Find(name);
    if (view == nullptr || view->shape != tensor.sizes().vec() || view->dtype != DType::kF32) {
      const std::string found =
          view == nullptr
              ? "is missing"
              : absl::StrCat("is ", SafetensorsName(view->dtype), " ", ShapeToString(view->shape),
                             ", expected F32 ", ShapeToString(tensor.sizes().vec()));
      return Error(Reason::kCheckpointCorrupt, absl::StrCat("tensor ", name, " ", found),
                   {{"tensor", name}});
    }
    at::Tensor target = tensor;
    target.copy_(AsTensor(*view));
  }
  return absl::OkStatus();
}

}  // namespace

Learner::Learner(const ModelConfig& config, const NamedTensors& start,
                 std::shared_ptr<Weights> compute, const TrainSpec& spec)
    : clip_norm_(spec.clip_norm), compute_weights_(std::move(compute)) {
  for (const auto& [name, tensor] : start) {
    parameters_[name] = tensor.detach()
                            .to(compute_weights_->device(), at::kFloat, /*non_blocking=*/false,
                                /*copy=*/true)
                            .contiguous()
                            .requires_grad_(true);
  }
  CastParameters();
  decoder_ = std::make_unique<Decoder>(config, compute_weights_);
  optimizer_ = MakeOptimizer(parameters_, spec);
}

void Learner::CastParameters() {
  for (const auto& [name, parameter] : parameters_) {
    at::Tensor& slot = compute_weights_->mutable_tensors()[name];
    slot = IsSsmParameter(name) ? parameter : parameter.to(compute_weights_->dtype());
  }
}

at::Tensor Learner::LossSum(const PackedBatch& batch) {
  CastParameters();
  const at::Device device = compute_weights_->device();
  ForwardBatch forward{OnDevice(batch.tokens, device), {}};
  for (const Segment& segment : batch.segments) {
    forward.spans.push_back({segment.begin, segment.length, nullptr});
  }
  at::Tensor hidden = decoder_->Hidden(forward);
  if (batch.rows.size() != batch.tokens.size()) {
    const at::Tensor rows = OnDevice(batch.rows, device).unsqueeze(1);
    hidden = hidden.gather(0, rows.expand({rows.size(0), hidden.size(1)}));
  }
  return ChunkedCrossEntropySum(hidden, decoder_->Head(), OnDevice(batch.targets, device));
}

at::Tensor Learner::AccumulateGradients(const PackedBatch& batch, int64_t step_targets) {
  const at::Tensor loss = LossSum(batch) / static_cast<double>(step_targets);
  loss.backward();
  return loss.detach();
}

at::Tensor Learner::ClipGradients() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients = GradientsOf(parameters_);
  const at::Tensor norm = GradientNorm(gradients);
  if (clip_norm_ > 0) lfm2::ClipGradients(gradients, norm, clip_norm_);
  return norm;
}

void Learner::Update(int64_t step, double lr) {
  optimizer_->Step(step, lr);
  DropGradients(parameters_);
}

at::Tensor Learner::EvalLossSum(const PackedBatch& batch) {
  const at::NoGradGuard no_grad;
  return LossSum(batch);
}

absl::Status Learner::Restore(const TensorArchive& weights, const TensorArchive& optimizer_state) {
  const at::NoGradGuard no_grad;
  LFM2_RETURN_IF_ERROR(Fill(weights, parameters_));
  return Fill(optimizer_state, optimizer_->state());
}

}  // namespace lfm2
