// KV blocks of a few sequences, scattered over a pool as a served batch leaves them.
#pragma once

#include <algorithm>
#include <numeric>

#include "tests/model/cuda/values.h"

namespace lfm2 {

class Blocks {
 public:
  // Room for `tokens` of each of `rows` sequences and some blocks of nobody's.
  Blocks(int dtype, int rows, int tokens, int kv_heads, int head_dim, std::mt19937_64& random)
      : shape_(cuda::ShapeOf(kv_heads, head_dim)),
        width_(static_cast<int>(cuda::CeilDiv(tokens, kLfm2CudaBlockTokens))),
        ids_(static_cast<size_t>(rows * width_ + 3)),
        keys_(Values::Normal(dtype, Elements(), random)),
        values_(Values::Normal(dtype, Elements(), random)) {
    std::iota(ids_.begin(), ids_.end(), 0);
    std::shuffle(ids_.begin(), ids_.end(), random);
  }

  Lfm2CudaKv kv(int row = 0) {
    return {keys_.data(), values_.data(), ids_.data() + row * width_, width_};
  }
  int64_t KeyIndex(int row, int token, int head, int channel) const {
    return Tile(row, token, head) + shape_.KeyAt(token % kLfm2CudaBlockTokens, channel);
  }
  int64_t ValueIndex(int row, int token, int head, int channel) const {
    return Tile(row, token, head) + shape_.ValueAt(token % kLfm2CudaBlockTokens, channel);
  }
  double Key(int row, int token, int head, int channel) const {
    return keys_[KeyIndex(row, token, head, channel)];
  }
  double Value(int row, int token, int head, int channel) const {
    return values_[ValueIndex(row, token, head, channel)];
  }
  // What the padding of the last channels holds when a kernel wrote it.
  void ClearPadding(int head_dim) {
    for (int64_t tile = 0; tile < keys_.size(); tile += kLfm2CudaBlockTokens * shape_.padded) {
      for (int slot = 0; slot < kLfm2CudaBlockTokens; ++slot) {
        for (int channel = head_dim; channel < shape_.padded; ++channel) {
          keys_.Set(tile + shape_.KeyAt(slot, channel), 0);
          values_.Set(tile + shape_.ValueAt(slot, channel), 0);
        }
      }
    }
  }
  const Values& keys() const { return keys_; }
  const Values& values() const { return values_; }
  int padded() const { return shape_.padded; }

 private:
  int64_t Elements() const {
    return static_cast<int64_t>(ids_.size()) * shape_.kv_heads * kLfm2CudaBlockTokens *
           shape_.padded;
  }
  int64_t Tile(int row, int token, int head) const {
    return shape_.Tile(ids_[static_cast<size_t>(row * width_ + token / kLfm2CudaBlockTokens)],
                       head);
  }

  cuda::TileShape shape_;
  int width_;
  std::vector<int32_t> ids_;
  Values keys_, values_;
};

}  // namespace lfm2
