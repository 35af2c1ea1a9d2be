// Next-token cross entropy that never holds all logits: [n, vocab] is computed, used and freed one
// chunk of rows at a time.
//
// The forward pass computes the gradients with the loss (softmax minus one-hot), so it keeps
// nothing of a chunk for the backward pass and computes each chunk once. Softmax is always in
// float32. Works on any device, meta included. Thread rule: pure. Throws c10::Error.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace lfm2 {

inline constexpr int64_t kLossChunkElements = int64_t{1}
                                              << 22;  // logits of one chunk, at least one row

// hidden [n, d], head [vocab, d] of the same type, targets [n] int64 on the same device. Returns
// the sum over the rows of -log softmax(hidden @ head^T)[target]: a float32 scalar; differentiable
// once in hidden and head.
at::Tensor ChunkedCrossEntropySum(const at::Tensor& hidden, const at::Tensor& head,
                                  const at::Tensor& targets,
                                  int64_t chunk_elements = kLossChunkElements);

}  // namespace lfm2
