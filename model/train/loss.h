// Next-token cross entropy without the whole logits: [n, vocab] is made, used and dropped a chunk
// of rows at a time.
//
// Forward computes the gradients with the loss (softmax minus one-hot), so that nothing of a chunk
// is kept for backward and no chunk is computed twice. Softmax in float32 whatever the type of
// `hidden`. Works on any device, meta included. Thread rule: pure. Throws c10::Error.
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
