// What one sequence carries from step to step: KV of every attention layer, the last inputs of every conv, the SSM states.
//
// Thread rule: one thread at a time. Ownership: whoever runs the sequence. Copy with Clone(), never by sharing.
#pragma once

#include <memory>
#include <vector>

#include <ATen/ATen.h>

#include "model/formats/config.h"

namespace lfm2 {

struct KvCache {
  at::Tensor k, v;  // [capacity, kv_heads, head_dim]; capacity grows by doubling
  int64_t length = 0;
};

class SequenceState {
 public:
  SequenceState(const ModelConfig& config, at::Device device, at::ScalarType dtype);

  int64_t position() const { return position_; }  // tokens seen so far
  int64_t bytes() const;
  std::unique_ptr<SequenceState> Clone() const;

  // Appends [t, kv_heads, head_dim]; returns all k and v so far, [position + t, kv_heads, head_dim].
  std::pair<at::Tensor, at::Tensor> AppendKv(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  at::Tensor& conv(int64_t layer) { return conv_[static_cast<size_t>(layer)]; }  // [d, L-1], oldest first
  at::Tensor& ssm(int64_t layer) { return ssm_[static_cast<size_t>(layer)]; }    // [d, N] float32
  void Advance(int64_t tokens) { position_ += tokens; }

 private:
  int64_t position_ = 0;
  std::vector<KvCache> kv_;
  std::vector<at::Tensor> conv_;
  std::vector<at::Tensor> ssm_;
};

}  // namespace lfm2
