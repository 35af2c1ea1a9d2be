#include "model/torch/weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "model/arch/registry.h"
#include "model/formats/dequantize.h"

namespace lfm2 {
namespace {

constexpr double kInitializerRange = 0.02;
constexpr double kSmallestDt = 1e-3, kLargestDt = 1e-1;

// FNV-1a, then one round of SplitMix64's finalizer, so that similar seeds and names give
// independent streams.
uint64_t SeedOf(std::string_view name, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed * 0x9e3779b97f4a7c15u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

at::ScalarType TypeFor(const std::string& name, at::ScalarType dtype) {
  return IsSsmParameter(name) ? at::kFloat : dtype;
}

absl::StatusOr<at::Tensor> Load(const TensorView& view, at::Device device, at::ScalarType dtype) {
  const at::Tensor stored = AsTensor(view);
  if (!at::isFloatingType(stored.scalar_type())) {
    return Error(Reason::kWeightsMismatch,
                 absl::StrCat(view.name, " is stored as ", SafetensorsName(view.dtype),
                              ", expected a floating-point type"),
                 {{"tensor", view.name}});
  }
  return stored.to(device, TypeFor(view.name, dtype));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Weights>> Weights::FromArchive(const ModelConfig& config,
                                                              const TensorArchive& archive,
                                                              at::Device device,
                                                              at::ScalarType dtype) {
  LFM2_RETURN_IF_ERROR(CheckWeights(config, archive));
  const c10::InferenceMode plain(false);
  auto out = std::make_shared<Weights>();
  out->device_ = device;
  out->dtype_ = dtype;
  out->owners_ = archive.owners;
  try {
    for (const TensorSpec& spec : config.TensorSpecs()) {
      LFM2_ASSIGN_OR_RETURN(at::Tensor tensor, Load(*archive.Find(spec.name), device, dtype));
      out->tensors_.emplace(spec.name, std::move(tensor));
    }
  } catch (const c10::Error& e) {
    return Error(Reason::kOutOfMemory, absl::StrCat("weights do not fit on ", device.str(), ": ",
                                                    e.what_without_backtrace()));
  }
  return out;
}

absl::StatusOr<std::shared_ptr<Weights>> Weights::Random(const ModelConfig& config, uint64_t seed,
                                                         at::Device device, at::ScalarType dtype) {
  const c10::InferenceMode plain(false);
  auto out = std::make_shared<Weights>();
  out->device_ = device;
  out->dtype_ = dtype;
  try {
    for (const TensorSpec& spec : config.TensorSpecs()) {
      const at::ScalarType type = TypeFor(spec.name, dtype);
      out->tensors_.emplace(
          spec.name, device.is_meta()
                         ? at::empty(spec.shape, at::TensorOptions().dtype(type).device(device))
                         : FreshTensor(spec, seed).to(device, type));
    }
  } catch (const c10::Error& e) {
    return Error(Reason::kOutOfMemory, absl::StrCat("weights do not fit on ", device.str(), ": ",
                                                    e.what_without_backtrace()));
  }
  return out;
}

std::shared_ptr<Weights> Weights::Empty(at::Device device, at::ScalarType dtype) {
  auto out = std::make_shared<Weights>();
  out->device_ = device;
  out->dtype_ = dtype;
  return out;
}

std::shared_ptr<Weights> Weights::Cast(at::ScalarType dtype) const {
  auto out = std::make_shared<Weights>(*this);
  out->dtype_ = dtype;
  for (auto& [name, tensor] : out->tensors_) tensor = tensor.to(TypeFor(name, dtype));
  return out;
}

const at::Tensor& Weights::operator[](const std::string& name) const {
  const auto found = tensors_.find(name);
  TORCH_CHECK(found != tensors_.end(), "the model has no tensor ", name);
  return found->second;
}

int64_t Weights::bytes() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += static_cast<int64_t>(tensor.nbytes());
  return total;
}

bool IsSsmParameter(const std::string& name) {
  const std::optional<TensorId> id = IdOfAny(name);
  return id && IsSsmParameter(id->role);
}

at::Tensor FreshTensor(const TensorSpec& spec, uint64_t seed) {
  const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat);
  at::Generator generator = at::detail::createCPUGenerator(SeedOf(spec.name, seed));
  const Role role = spec.id.role;
  if (spec.id.bias) return at::zeros(spec.shape, options);
  if (IsNorm(role) || role == Role::kSsmB || role == Role::kSsmD) {
    return at::ones(spec.shape, options);
  }
  if (role == Role::kSsmALog) {
    return at::arange(1, spec.shape[1] + 1, options).log().expand(spec.shape).contiguous();
  }
  at::Tensor out = at::empty(spec.shape, options);
  if (role == Role::kSsmLogDt) {
    return out.uniform_(std::log(kSmallestDt), std::log(kLargestDt), generator);
  }
  return out.normal_(0.0, role == Role::kSsmC ? 1.0 : kInitializerRange, generator);
}

at::ScalarType ToScalarType(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return at::kDouble;
    case DType::kF32:
      return at::kFloat;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kI64:
      return at::kLong;
    case DType::kI32:
      return at::kInt;
    case DType::kI16:
      return at::kShort;
    case DType::kI8:
      return at::kChar;
    case DType::kU8:
      return at::kByte;
    case DType::kBool:
      return at::kBool;
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_1:
      break;
  }
  return at::ScalarType::Undefined;
}

absl::StatusOr<DType> FromScalarType(at::ScalarType type) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64,
                            DType::kI32, DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    if (ToScalarType(dtype) == type) return dtype;
  }
  return Error(Reason::kUnsupported,
               absl::StrCat("no file format here stores the type ", c10::toString(type)));
}

at::Tensor AsTensor(const TensorView& view) {
  if (IsBlockType(view.dtype)) {
    at::Tensor values = at::empty(view.shape, at::TensorOptions().dtype(at::kFloat));
    Dequantize(view, {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
    return values;
  }
  const at::TensorOptions options = at::TensorOptions().dtype(ToScalarType(view.dtype));
  const auto address = reinterpret_cast<uintptr_t>(view.data);
  if (view.bytes > 0 && address % static_cast<uintptr_t>(SizeOf(view.dtype)) == 0) {
    return at::from_blob(const_cast<std::byte*>(view.data), view.shape, options);
  }
  at::Tensor copy = at::empty(view.shape, options);
  if (view.bytes > 0) std::memcpy(copy.data_ptr(), view.data, static_cast<size_t>(view.bytes));
  return copy;
}

absl::StatusOr<TensorView> AsView(const std::string& name, const at::Tensor& tensor) {
  LFM2_ASSIGN_OR_RETURN(const DType dtype, FromScalarType(tensor.scalar_type()));
  if (!tensor.is_cpu() || !tensor.is_contiguous()) {
    return Error(Reason::kInternal, absl::StrCat(name, " is not a contiguous tensor on the CPU"));
  }
  TensorView view;
  view.name = name;
  view.dtype = dtype;
  view.shape = tensor.sizes().vec();
  view.data = static_cast<const std::byte*>(tensor.const_data_ptr());
  view.bytes = static_cast<int64_t>(tensor.nbytes());
  return view;
}

absl::StatusOr<HostTensors> ToHost(const std::map<std::string, at::Tensor>& tensors) {
  HostTensors out;
  for (const auto& [name, tensor] : tensors) {
    out.owners.push_back(tensor.detach().to(at::kCPU).contiguous());
    LFM2_ASSIGN_OR_RETURN(TensorView view, AsView(name, out.owners.back()));
    out.views.push_back(std::move(view));
  }
  return out;
}

}  // namespace lfm2
