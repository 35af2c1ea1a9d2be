#include "model/convert/convert.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aside_directory.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/convert/convert_infer.h"
#include "model/convert/convert_plan.h"
#include "model/export/hf_folder.h"
#include "model/export/tensor_spool.h"
#include "model/torch/weights.h"

namespace lfm2 {
namespace {

constexpr int64_t kMetaBytes = 16 << 20;

// Averages rows [old_heads * head_dim, d] to [old_heads / group * head_dim, d], float32.
at::Tensor AverageHeads(const at::Tensor& rows, int64_t group, int64_t head_dim) {
  const int64_t d = rows.size(1);
  const at::Tensor grouped = rows.to(at::kFloat).reshape({-1, group, head_dim, d});
  return grouped.mean(1).reshape({-1, d}).contiguous();
}

// Whether a tensor is copied in its own type, F32 or 16 bit; others become float32.
bool GoesAsItIs(const TensorPlan& plan) {
  return plan.source != nullptr && plan.averaged_heads == 0 && plan.source->dtype != DType::kF64 &&
         !IsBlockType(plan.source->dtype);
}

// Whether a quantised file is copied as it is: only if no tensor changes. As plain tensors it would
// be larger or less exact.
bool KeepsFile(const ConversionPlan& plan, const ModelFolder* source) {
  return source != nullptr && source->format == "gguf" && plan.IsWholeSource() &&
         std::any_of(source->weights.tensors.begin(), source->weights.tensors.end(),
                     [](const TensorView& tensor) { return IsBlockType(tensor.dtype); });
}

void ReportKept(ConversionPlan& plan) {
  for (TensorPlan& tensor : plan.tensors) {
    tensor.report.fate = TensorFate::kCopied;
    tensor.report.note = absl::StrCat("kept as ", SafetensorsName(tensor.source->dtype));
  }
}

absl::StatusOr<at::Tensor> Make(const TensorPlan& plan, const ModelConfig& target, uint64_t seed) {
  if (plan.source == nullptr) return FreshTensor(plan.target, seed);
  const at::Tensor source = AsTensor(*plan.source);
  if (plan.averaged_heads > 0) return AverageHeads(source, plan.averaged_heads, target.head_dim);
  return source.to(at::kFloat).contiguous();
}

absl::StatusOr<ConversionPlan> Plan(const ModelFolder* source, const ModelConfig& target,
                                    const ConversionSpec& spec) {
  if (source == nullptr) return PlanTensors(TensorArchive{}, nullptr, target);
  if (spec.partial) return PlanTensors(source->weights, nullptr, target);
  if (source->config) return PlanTensors(source->weights, &*source->config, target);
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, InferConfig(source->weights, spec.shape));
  return PlanTensors(source->weights, &config, target);
}

std::filesystem::path TokenizerOf(const ModelFolder* source) {
  return source == nullptr ? std::filesystem::path() : source->tokenizer_dir;
}

absl::Status KeepFile(const ConversionPlan& plan, const ModelFolder& source,
                      const ModelConfig& target, const std::filesystem::path& directory,
                      const std::function<void(int64_t, int64_t)>& progress) {
  LFM2_RETURN_IF_ERROR(
      WriteHfFolder({target, {}, source.tokenizer_dir, source.weights_file}, directory));
  const auto total = static_cast<int64_t>(plan.tensors.size());
  for (int64_t done = 1; progress && done <= total; ++done) progress(done, total);
  return absl::OkStatus();
}

absl::Status WriteModel(const ConversionPlan& plan, const ModelFolder* source,
                        const ModelConfig& target, const ConversionSpec& spec,
                        const std::filesystem::path& directory,
                        const std::function<void(int64_t, int64_t)>& progress) {
  LFM2_ASSIGN_OR_RETURN(TensorSpool spool, TensorSpool::Create(directory / "spool"));
  int64_t done = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!GoesAsItIs(tensor)) {
      LFM2_ASSIGN_OR_RETURN(const at::Tensor made, Make(tensor, target, spec.seed));
      LFM2_ASSIGN_OR_RETURN(const TensorView view, AsView(tensor.target.name, made));
      LFM2_RETURN_IF_ERROR(spool.Add(view));
    }
    if (progress) progress(++done, static_cast<int64_t>(plan.tensors.size()));
  }
  LFM2_ASSIGN_OR_RETURN(const TensorArchive made, spool.Finish());
  std::vector<TensorView> views;
  auto next_made = made.tensors.begin();
  for (const TensorPlan& tensor : plan.tensors) {
    views.push_back(GoesAsItIs(tensor) ? *tensor.source : *next_made++);
    views.back().name = tensor.target.name;
  }
  return WriteHfFolder({target, views, TokenizerOf(source)}, directory);
}

absl::StatusOr<ConversionReport> Convert(const ModelFolder* source, const ModelConfig& target,
                                         const ConversionSpec& spec,
                                         const std::filesystem::path& out_directory,
                                         const std::function<void(int64_t, int64_t)>& progress) {
  std::error_code error;
  if (std::filesystem::exists(out_directory, error)) {
    return Error(Reason::kModelExists,
                 absl::StrCat("\"", out_directory.filename().string(), "\" exists already"));
  }
  LFM2_ASSIGN_OR_RETURN(ConversionPlan plan, Plan(source, target, spec));
  LFM2_ASSIGN_OR_RETURN(AsideDirectory aside, AsideDirectory::Create(out_directory));
  if (KeepsFile(plan, source)) {
    ReportKept(plan);
    LFM2_RETURN_IF_ERROR(KeepFile(plan, *source, target, aside.path(), progress));
  } else {
    LFM2_RETURN_IF_ERROR(WriteModel(plan, source, target, spec, aside.path(), progress));
  }
  LFM2_RETURN_IF_ERROR(aside.Publish());
  ConversionReport report;
  for (const TensorPlan& tensor : plan.tensors) report.tensors.push_back(tensor.report);
  report.tensors.insert(report.tensors.end(), plan.left_over.begin(), plan.left_over.end());
  return report;
}

}  // namespace

int64_t ConversionReport::Count(TensorFate fate) const {
  return std::count_if(tensors.begin(), tensors.end(),
                       [fate](const TensorReport& tensor) { return tensor.fate == fate; });
}

absl::StatusOr<ModelFolder> OpenConversionSource(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenModelFolder(path));
  std::filesystem::path meta = path;
  meta.replace_extension(".json");
  std::error_code error;
  if (folder.config || folder.format != "npz" || !std::filesystem::is_regular_file(meta, error)) {
    return folder;
  }
  LFM2_ASSIGN_OR_RETURN(const std::string text, ReadFile(meta, kMetaBytes));
  LFM2_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  if (!json.is_object() || !json.contains("config") || !json["config"].is_object()) return folder;
  const absl::StatusOr<ModelConfig> config = ParseModelConfig(json["config"].dump());
  if (!config.ok()) return Annotate(config.status(), meta.filename().string());
  folder.config = *config;
  return folder;
}

absl::StatusOr<ConversionReport> ConvertModel(
    const ModelFolder* source, const ModelConfig& target, const ConversionSpec& spec,
    const std::filesystem::path& out_directory,
    const std::function<void(int64_t, int64_t)>& progress) {
  try {
    return Convert(source, target, spec, out_directory, progress);
  } catch (const c10::Error& error) {
    return Error(Reason::kInternal, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "a tensor of the new model does not fit in memory");
  }
}

}  // namespace lfm2
