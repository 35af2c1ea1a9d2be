// Random arrays in either of the types that the kernels know, and what they hold.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "model/cuda/shim.h"
#include "tests/model/cuda/host/host_library.h"

namespace lfm2 {

// Float32 or bfloat16 by `dtype`; addresses are aligned as a device's.
class Values {
 public:
  Values(int dtype, int64_t size)
      : dtype_(dtype), size_(size), packs_(static_cast<size_t>(size / 8 + 1)) {}

  static Values Normal(int dtype, int64_t size, std::mt19937_64& random, double scale = 1) {
    std::normal_distribution<double> normal(0, scale);
    Values out(dtype, size);
    for (int64_t i = 0; i < size; ++i) out.Set(i, normal(random));
    return out;
  }

  void* data() { return packs_.data(); }
  const void* data() const { return packs_.data(); }
  const float* floats() const { return static_cast<const float*>(data()); }
  float* floats() { return static_cast<float*>(data()); }
  int64_t size() const { return size_; }
  int dtype() const { return dtype_; }

  double operator[](int64_t i) const {
    return dtype_ == kLfm2CudaBf16 ? cuda::ToFloat(static_cast<const cuda::Bf16*>(data())[i])
                                   : static_cast<const float*>(data())[i];
  }
  void Set(int64_t i, double value) {
    if (dtype_ == kLfm2CudaBf16) {
      static_cast<cuda::Bf16*>(data())[i] = cuda::FromFloat<cuda::Bf16>(static_cast<float>(value));
    } else {
      static_cast<float*>(data())[i] = static_cast<float>(value);
    }
  }
  // What one rounding to the type may change of a value.
  double Epsilon(double value) const {
    return (dtype_ == kLfm2CudaBf16 ? 0x1p-7 : 2e-6) * (std::abs(value) + 1e-2);
  }

 private:
  int dtype_;
  int64_t size_;
  std::vector<cuda::Pack<float>> packs_;
};

inline double RoundTo(int dtype, double value) {
  Values one(dtype, 1);
  one.Set(0, value);
  return one[0];
}

inline const int kDtypes[] = {kLfm2CudaF32, kLfm2CudaBf16};

}  // namespace lfm2
