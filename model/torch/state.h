// What one sequence carries from step to step: KV of every attention layer, the last inputs of
// every conv, the SSM states.
//
// Thread rule: one thread at a time. Ownership: whoever runs the sequence. Copy with Clone(), never
// by sharing. States carry no gradient. If a forward pass throws, the states of its batch are
// partly advanced and must be dropped.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <utility>
#include <vector>

#include "model/arch/config.h"

namespace lfm2 {

struct KvCache {
  at::Tensor k, v;  // [capacity, kv_heads, head_dim]; capacity grows by doubling; undefined before
                    // the first token
};

// Storage for a sequence's keys and values outside its own tensors.
class KvStore {
 public:
  virtual ~KvStore() = default;
  // Stores k and v, [t, kv_heads, head_dim], after the first `position` tokens of a layer; returns
  // k and v of all tokens.
  virtual std::pair<at::Tensor, at::Tensor> Append(int64_t layer, int64_t position,
                                                   const at::Tensor& k, const at::Tensor& v) = 0;
  virtual int64_t bytes() const = 0;
};

class SequenceState {
 public:
  SequenceState(const ModelConfig& config, at::Device device, at::ScalarType dtype);
  // A fresh sequence in memory that it does not own: `conv` and `ssm` hold zeros, one entry per
  // layer, each a view with the shape below or undefined. It cannot be cloned.
  SequenceState(std::unique_ptr<KvStore> store, std::vector<at::Tensor> conv,
                std::vector<at::Tensor> ssm)
      : store_(std::move(store)), conv_(std::move(conv)), ssm_(std::move(ssm)) {}

  int64_t position() const { return position_; }   // tokens seen so far
  int64_t bytes() const;                           // held now, including spare KV capacity
  std::unique_ptr<SequenceState> Clone() const;    // without the spare capacity
  KvStore* store() const { return store_.get(); }  // null: owns its keys and values

  // Appends k and v, [t, kv_heads, head_dim]; returns all k and v so far, [position + t, kv_heads,
  // head_dim]. These are views, which the next append may overwrite or leave outdated.
  std::pair<at::Tensor, at::Tensor> AppendKv(int64_t layer, const at::Tensor& k,
                                             const at::Tensor& v);
  const at::Tensor& conv(int64_t layer) const {
    return conv_[static_cast<size_t>(layer)];
  }  // [d, L-1], oldest first
  const at::Tensor& ssm(int64_t layer) const {
    return ssm_[static_cast<size_t>(layer)];
  }  // [d, N] float32
  // Overwrites in place, so that states of different sequences never share storage.
  void SetConv(int64_t layer, const at::Tensor& value);
  void SetSsm(int64_t layer, const at::Tensor& value);
  void Advance(int64_t tokens) { position_ += tokens; }

 private:
  SequenceState() = default;
  void Reserve(KvCache& cache, const at::Tensor& like, int64_t tokens) const;

  int64_t position_ = 0;
  std::unique_ptr<KvStore> store_;
  // One entry per layer, used by layers with attention; empty if there is a store.
  std::vector<KvCache> kv_;
  std::vector<at::Tensor> conv_;  // one entry per layer; undefined if it has no conv
  std::vector<at::Tensor> ssm_;   // one entry per layer; undefined if it has no SSM
};

}  // namespace lfm2
