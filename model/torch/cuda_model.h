// A CudaModel: what DecodeStep runs, pointing into a decoder's weights and into the pools that its
// sequences' states lie in.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/cuda/decode_step.h"
#include "model/torch/decoder.h"

namespace lfm2 {

// One a layer, undefined where it has none.
struct CudaPools {
  std::vector<at::Tensor> kv;    // [2][blocks * elements of a block]
  std::vector<at::Tensor> conv;  // [slots, L-1, d]
  std::vector<at::Tensor> ssm;   // [slots, N, d]
  int64_t blocks = 0;            // 0: nothing attends
};

struct CudaModelParts {
  CudaModel model;
  std::vector<at::Tensor> kept;  // what the model points to beside the weights and the pools
};

// kLfm2CudaF32 or kLfm2CudaBf16; throws c10::Error for another type.
int CudaDtype(at::ScalarType type);

// Packs the projections of `weights`, the decoder's own, that share an input: each stays a view of
// its part, so no other thread may read them meanwhile. Throws what LibTorch throws.
CudaModelParts MakeCudaModel(const Decoder& decoder, Weights& weights, const CudaPools& pools);

// Null on the meta device, where LibTorch's own typed access throws.
template <typename T>
const T* DataOf(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

}  // namespace lfm2
