// A model's weights on one device, by Hugging Face's names. Missing tensors, unexpected tensors and
// wrong shapes are errors.
//
// Thread rule: const after load. Ownership: shared_ptr<const Weights>; tensors may point into
// mapped files, which it keeps open.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

class Weights {
 public:
  // Converts to dtype and moves to device; the SSM parameters (A_log, B, C, D, log_dt) are always
  // float32. On the CPU a tensor that needs no conversion is a view of the mapped file, which may
  // be read-only: clone before writing. kWeightsMismatch.
  static absl::StatusOr<std::shared_ptr<Weights>> FromArchive(const ModelConfig& config,
                                                              const TensorArchive& archive,
                                                              at::Device device,
                                                              at::ScalarType dtype);
  // Fresh weights: FreshTensor for every name. The same seed gives the same values on every device.
  static absl::StatusOr<std::shared_ptr<Weights>> Random(const ModelConfig& config, uint64_t seed,
                                                         at::Device device, at::ScalarType dtype);

  // No tensors yet; for training, which adds all of them.
  static std::shared_ptr<Weights> Empty(at::Device device, at::ScalarType dtype);

  // The same weights in another type on the same device. Throws c10::Error if memory runs out.
  std::shared_ptr<Weights> Cast(at::ScalarType dtype) const;

  // `name` is a tensor name of the config; all of them are present after loading. Throws c10::Error
  // for any other name.
  const at::Tensor& operator[](const std::string& name) const;
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }
  std::map<std::string, at::Tensor>& mutable_tensors() { return tensors_; }  // training only
  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  int64_t bytes() const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::vector<std::shared_ptr<const void>> owners_;
  at::Device device_ = at::kCPU;
  at::ScalarType dtype_ = at::kFloat;
};

// True for A_log, B, C, D and log_dt of an SSM. They are always float32 and have no weight decay.
bool IsSsmParameter(const std::string& name);

// A fresh tensor, float32 on the CPU: normal(0, 0.02) for matrices and conv kernels, ones for
// norms, zeros for biases, and for the SSM A_log = log(n + 1), B = 1, C normal(0, 1), D = 1, log_dt
// uniform in [log 1e-3, log 1e-1]. Depends only on the seed and the name, not on the order of
// calls.
at::Tensor FreshTensor(const TensorSpec& spec, uint64_t seed);

at::ScalarType ToScalarType(DType dtype);
absl::StatusOr<DType> FromScalarType(at::ScalarType type);
// A CPU view of an archive's tensor, without a copy unless the data are unaligned.
at::Tensor AsTensor(const TensorView& view);
// A view of a contiguous CPU tensor; valid while the tensor lives. kInternal for another kind of
// tensor.
absl::StatusOr<TensorView> AsView(const std::string& name, const at::Tensor& tensor);

// Tensors as writers take them, with the owners of the memory that the views point to.
struct HostTensors {
  std::vector<at::Tensor> owners;
  std::vector<TensorView> views;  // by name
};
absl::StatusOr<HostTensors> ToHost(const std::map<std::string, at::Tensor>& tensors);

}  // namespace lfm2
