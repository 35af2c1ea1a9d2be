// Weights of a model: Hugging Face's name -> tensor, on one device. Missing, unexpected and misshapen names are errors.
//
// Thread rule: const after load. Ownership: shared_ptr<const Weights>; tensors may point into mapped files that it keeps.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <ATen/ATen.h>

#include "absl/status/statusor.h"
#include "model/formats/config.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

class Weights {
 public:
  // Converts to dtype and moves to device; SSM parameters (A_log, B, C, D, log_dt) and norms stay float32 / as the
  // arithmetic of model.md says. kWeightsMismatch.
  static absl::StatusOr<std::shared_ptr<Weights>> FromArchive(const ModelConfig& config, const TensorArchive& archive,
                                                              at::Device device, at::ScalarType dtype);
  // Fresh weights: normal(0, initializer_range) for matrices, ones for norms, S4D-Real for the SSM; same values for the
  // same seed on every device.
  static absl::StatusOr<std::shared_ptr<Weights>> Random(const ModelConfig& config, uint64_t seed, at::Device device,
                                                         at::ScalarType dtype);

  const at::Tensor& operator[](const std::string& name) const;  // name is one of the config's; checked at load
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

at::ScalarType ToScalarType(DType dtype);
absl::StatusOr<DType> FromScalarType(at::ScalarType type);
// A view of an archive's tensor without a copy (unaligned data is copied). CPU.
at::Tensor AsTensor(const TensorView& view);
// A view of a contiguous CPU tensor; valid while the tensor lives.
absl::StatusOr<TensorView> AsView(const std::string& name, const at::Tensor& tensor);

}  // namespace lfm2
