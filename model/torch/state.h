// What one sequence carries from step to step: KV of every attention layer, the last inputs of
// every conv, the SSM states.
//
// Thread rule: one thread at a time. Ownership: whoever runs the sequence. Copy with Clone(), never
// by sharing. States carry no gradient. When a forward pass throws, the states of its batch are
// half advanced: drop them.
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

// Where a sequence's keys and values are kept when not in tensors of its own.
class KvStore {
 public:
  virtual ~KvStore() = default;
  // Puts [t, kv_heads, head_dim] behind the first `position` tokens of a layer; returns k and v of
  // all of them.
  virtual std::pair<at::Tensor, at::Tensor> Append(int64_t layer, int64_t position,
                                                   const at::Tensor& k, const at::Tensor& v) = 0;
  virtual int64_t bytes() const = 0;
};

class SequenceState {
 public:
  SequenceState(const ModelConfig& config, at::Device device, at::ScalarType dtype);
  // A fresh sequence in memory of somebody else's: `conv` and `ssm` are zero, one a layer, views of
  // the shapes below or undefined. It cannot be cloned.
  SequenceState(std::unique_ptr<KvStore> store, std::vector<at::Tensor> conv,
                std::vector<at::Tensor> ssm)
      : store_(std::move(store)), conv_(std::move(conv)), ssm_(std::move(ssm)) {}

  int64_t position() const { return position_; }   // tokens seen so far
  int64_t bytes() const;                           // held now, spare KV capacity included
  std::unique_ptr<SequenceState> Clone() const;    // without the spare capacity
  KvStore* store() const { return store_.get(); }  // null: keys and values are its own

  // Appends [t, kv_heads, head_dim]; returns all k and v so far, [position + t, kv_heads,
  // head_dim]: views that the next append may overwrite or leave behind.
  std::pair<at::Tensor, at::Tensor> AppendKv(int64_t layer, const at::Tensor& k,
                                             const at::Tensor& v);
  const at::Tensor& conv(int64_t layer) const {
    return conv_[static_cast<size_t>(layer)];
  }  // [d, L-1], oldest first
  const at::Tensor& ssm(int64_t layer) const {
    return ssm_[static_cast<size_t>(layer)];
  }  // [d, N] float32
  // Overwrites in place, so a state never shares storage with another sequence's.
  void SetConv(int64_t layer, const at::Tensor& value);
  void SetSsm(int64_t layer, const at::Tensor& value);
  void Advance(int64_t tokens) { position_ += tokens; }

 private:
  SequenceState() = default;
  void Reserve(KvCache& cache, const at::Tensor& like, int64_t tokens) const;

  int64_t position_ = 0;
  std::unique_ptr<KvStore> store_;
  // One a layer, none with a store; used by the layers that have attention.
  std::vector<KvCache> kv_;
  std::vector<at::Tensor> conv_;  // one a layer; undefined where there is no conv
  std::vector<at::Tensor> ssm_;   // one a layer; undefined where there is no SSM
};

}  // namespace lfm2
