#include "model/torch/state.h"

#include <algorithm>

#include "model/torch/plain_tensors.h"

namespace lfm2 {
namespace {

constexpr int64_t kFirstCapacity = 32;  // tokens

int64_t Bytes(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

at::Tensor CloneOf(const at::Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; }

}  // namespace

SequenceState::SequenceState(const ModelConfig& config, at::Device device, at::ScalarType dtype) {
  const PlainTensors plain;
  const at::TensorOptions options = at::TensorOptions().device(device);
  for (const Layer& layer : config.Layers()) {
    at::Tensor conv, ssm;
    for (const Stage& stage : layer) {
      for (const Branch& branch : stage.branches) {
        if (branch.kind == BlockKind::kShortConv) {
          conv = at::zeros({config.hidden_size, config.conv_kernel - 1}, options.dtype(dtype));
        } else if (branch.kind == BlockKind::kDiagonalSsm) {
          ssm = at::zeros({config.hidden_size, config.ssm_state_size}, options.dtype(at::kFloat));
        }
      }
    }
    kv_.emplace_back();
    conv_.push_back(conv);
    ssm_.push_back(ssm);
  }
}

int64_t SequenceState::bytes() const {
  int64_t total = store_ != nullptr ? store_->bytes() : 0;
  for (const KvCache& cache : kv_) total += Bytes(cache.k) + Bytes(cache.v);
  for (const at::Tensor& tensor : conv_) total += Bytes(tensor);
  for (const at::Tensor& tensor : ssm_) total += Bytes(tensor);
  return total;
}

std::unique_ptr<SequenceState> SequenceState::Clone() const {
  TORCH_CHECK(store_ == nullptr, "a sequence in a store cannot be cloned");
  const PlainTensors plain;
  std::unique_ptr<SequenceState> copy(new SequenceState());
  copy->position_ = position_;
  for (const KvCache& cache : kv_) {
    KvCache& to = copy->kv_.emplace_back();
    if (!cache.k.defined()) continue;
    to.k = cache.k.narrow(0, 0, position_).clone();
    to.v = cache.v.narrow(0, 0, position_).clone();
  }
  for (const at::Tensor& tensor : conv_) copy->conv_.push_back(CloneOf(tensor));
  for (const at::Tensor& tensor : ssm_) copy->ssm_.push_back(CloneOf(tensor));
  return copy;
}

void SequenceState::Reserve(KvCache& cache, const at::Tensor& like, int64_t tokens) const {
  const int64_t capacity = cache.k.defined() ? cache.k.size(0) : 0;
  if (tokens <= capacity) return;
  const int64_t grown = std::max({tokens, 2 * capacity, kFirstCapacity});
  for (at::Tensor* tensor : {&cache.k, &cache.v}) {
    at::Tensor larger = at::empty({grown, like.size(1), like.size(2)}, like.options());
    if (position_ > 0) larger.narrow(0, 0, position_).copy_(tensor->narrow(0, 0, position_));
    *tensor = larger;
  }
}

std::pair<at::Tensor, at::Tensor> SequenceState::AppendKv(int64_t layer, const at::Tensor& k,
                                                          const at::Tensor& v) {
  if (store_ != nullptr) return store_->Append(layer, position_, k, v);
  const PlainTensors plain;
  KvCache& cache = kv_[static_cast<size_t>(layer)];
  const int64_t tokens = k.size(0);
  Reserve(cache, k, position_ + tokens);
  cache.k.narrow(0, position_, tokens).copy_(k);
  cache.v.narrow(0, position_, tokens).copy_(v);
  return {cache.k.narrow(0, 0, position_ + tokens), cache.v.narrow(0, 0, position_ + tokens)};
}

void SequenceState::SetConv(int64_t layer, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  conv_[static_cast<size_t>(layer)].copy_(value);
}

void SequenceState::SetSsm(int64_t layer, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  ssm_[static_cast<size_t>(layer)].copy_(value);
}

}  // namespace lfm2
