// Makes a CudaModel, which DecodeStep runs. It points into a decoder's weights and into the pools
// that hold the sequences' states.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/cuda/decode_step.h"
#include "model/torch/decoder.h"

namespace lfm2 {

// One entry per layer, undefined if the layer does not need it.
struct CudaPools {
  std::vector<at::Tensor> kv;    // [2][blocks * elements of a block]
  std::vector<at::Tensor> conv;  // [slots, L-1, d]
  std::vector<at::Tensor> ssm;   // [slots, N, d]
  int64_t blocks = 0;            // 0: the model has no attention
};

struct CudaModelParts {
  CudaModel model;
  std::vector<at::Tensor> kept;  // tensors that the model points to, except weights and pools
};

// kLfm2CudaF32 or kLfm2CudaBf16; throws c10::Error for another type.
int CudaDtype(at::ScalarType type);

// `weights` are the decoder's. Packs their projections that share an input into one tensor each and
// makes them views of it, so no other thread may read them during the call. Throws LibTorch's
// exceptions.
CudaModelParts MakeCudaModel(const Decoder& decoder, Weights& weights, const CudaPools& pools);

// Null on the meta device, where LibTorch's typed access throws.
template <typename T>
const T* DataOf(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

}  // namespace lfm2
