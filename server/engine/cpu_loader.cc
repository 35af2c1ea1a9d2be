#include "server/engine/cpu_loader.h"

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "server/engine/model_tokenizer.h"

namespace lfm2 {
namespace {

const char* DTypeNameOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "float32";
    case WeightFormat::kBF16:
      return "bfloat16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
  }
  return "unknown";
}

WeightFormat FormatThatKeeps(DType type) {
  switch (type) {
    case DType::kF16:
    case DType::kBF16:
      return WeightFormat::kBF16;
    case DType::kQ8_0:
    case DType::kQ4_1:  // its offsets do not fit in int4's groups
      return WeightFormat::kInt8;
    case DType::kQ4_0:
      return WeightFormat::kInt4;
    default:
      return WeightFormat::kF32;
  }
}

// Packs on separate threads with its caller's nice value, so that steps do not wait for a load.
absl::StatusOr<std::shared_ptr<LoadedModel>> Load(const ModelVersion& version, Isa isa,
                                                  const CpuLoaderOptions& options,
                                                  const std::shared_ptr<ThreadPool>& pool) {
  LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenModelFolder(version.directory));
  if (!folder.config.has_value()) {
    return Error(Reason::kConfigInvalid, "model \"" + version.name + "\" has no config.json");
  }
  auto loaded = std::make_shared<LoadedModel>();
  // Read in parallel with the weights, because a large vocabulary takes as long to read as a small
  // model.
  auto tokenizer = std::async(std::launch::async, [&] {
    return TokenizerForModel(folder.tokenizer_dir, folder.config->vocab_size);
  });
  LFM2_ASSIGN_OR_RETURN(const WeightFormat format,
                        ChooseWeightFormat(options.weights, folder.weights));
  ThreadPool packing(pool->threads());
  LFM2_ASSIGN_OR_RETURN(
      const std::shared_ptr<const CpuWeights> weights,
      CpuWeights::FromArchive(*folder.config, folder.weights, {format, isa}, packing));
  LFM2_ASSIGN_OR_RETURN(loaded->tokenizer, tokenizer.get());
  loaded->name = version.name;
  loaded->version = version.version;
  loaded->config = *folder.config;
  loaded->dtype = DTypeNameOf(format);
  loaded->device = "cpu";
  loaded->isa = IsaName(isa);
  loaded->kv_dtype = weights->kv_type() == KvType::kF32 ? "float32" : "bfloat16";
  loaded->bytes = weights->bytes();
  loaded->runner = MakeCpuRunner(weights, pool, options.runner);
  Log(LogLevel::kInfo, "model loaded",
      {{"model", loaded->name},
       {"weights", WeightFormatName(format)},
       {"keys_and_values", KvTypeName(weights->kv_type())},
       {"instructions", loaded->isa},
       {"threads", std::to_string(pool->threads())},
       {"bytes", std::to_string(loaded->bytes)}});
  return loaded;
}

}  // namespace

absl::StatusOr<WeightFormat> ChooseWeightFormat(std::string_view name,
                                                const TensorArchive& weights) {
  if (const std::optional<WeightFormat> format = WeightFormatByName(name)) return *format;
  if (name != "auto") {
    return Error(Reason::kInvalidArgument, "weights are \"" + std::string(name) +
                                               "\", must be auto, f32, bf16, int8 or int4");
  }
  std::map<DType, int64_t> bytes;
  for (const TensorView& view : weights.tensors) bytes[view.dtype] += view.bytes;
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? WeightFormat::kF32 : FormatThatKeeps(most->first);
}

absl::StatusOr<ModelLoader> MakeCpuModelLoader(const CpuLoaderOptions& options) {
  LFM2_ASSIGN_OR_RETURN(const Isa isa, IsaFromEnvironment());
  LFM2_RETURN_IF_ERROR(ChooseWeightFormat(options.weights, {}).status());
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  auto pool = std::make_shared<ThreadPool>(options.threads > 0 ? options.threads : cores);
  return ModelLoader([isa, options, pool](const ModelVersion& version) {
    return Load(version, isa, options, pool);
  });
}

}  // namespace lfm2
