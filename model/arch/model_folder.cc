#include "model/arch/model_folder.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>
#include <unordered_map>

#include "base/errors.h"
#include "base/file.h"
#include "base/file_kinds.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/arch/gguf_model.h"
#include "model/formats/gguf.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "model/formats/torch_pt.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNamedMismatches = 20;
constexpr int64_t kMaxConfigBytes = 4 << 20;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::string FormatOf(const fs::path& path) {
  if (path.extension() == ".json") return WeightsFormatName(WeightsFormat::kSafetensors);  // index
  const std::optional<WeightsFormat> format = WeightsFormatOf(path.filename().string());
  return format ? WeightsFormatName(*format) : "";
}

// Adds generation_config.json's eos list, where released chat models list their second eos token.
absl::Status ReadGenerationConfig(const fs::path& path, ModelConfig& config) {
  if (!IsFile(path)) return absl::OkStatus();
  LFM2_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  absl::StatusOr<Json> root = ParseJson(text);
  if (!root.ok() || !root->is_object()) {
    return Error(Reason::kConfigInvalid,
                 "generation_config.json: " + (root.ok() ? std::string("is not an object")
                                                         : std::string(root.status().message())));
  }
  const auto eos = root->find("eos_token_id");
  if (eos == root->end() || eos->is_null()) return absl::OkStatus();
  const Json list = eos->is_array() ? *eos : Json::array({*eos});
  for (const Json& id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(config.vocab_size)) {
      return Error(Reason::kConfigInvalid,
                   "generation_config.json: eos_token_id holds " + id.dump().substr(0, 64) +
                       ", must be ids below vocab_size = " + std::to_string(config.vocab_size));
    }
    const int32_t value = id.get<int32_t>();
    std::vector<int32_t>& ids = config.eos_token_ids;
    if (std::find(ids.begin(), ids.end(), value) == ids.end()) ids.push_back(value);
    if (!config.eos_token_id) config.eos_token_id = value;
  }
  return absl::OkStatus();
}

// The files of the folder that `wanted` accepts, sorted by name.
template <typename Predicate>
std::vector<fs::path> FilesOf(const fs::path& directory, Predicate wanted) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (IsFile(it->path()) && wanted(it->path())) found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Empty if the folder does not have a GGUF. An error if it has several: they are often
// quantisations of one model, and the user must choose one.
absl::StatusOr<fs::path> GgufOf(const fs::path& directory) {
  const std::vector<fs::path> found =
      FilesOf(directory, [](const fs::path& path) { return FormatOf(path) == "gguf"; });
  if (found.size() <= 1) return found.empty() ? fs::path() : found.front();
  return Error(Reason::kModelFileInvalid,
               "folder \"" + directory.filename().string() + "\" holds " +
                   std::to_string(found.size()) + " .gguf files, including " +
                   found[0].filename().string() + " and " + found[1].filename().string() +
                   "; give the path of one file");
}

absl::StatusOr<fs::path> WeightsOf(const fs::path& directory) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (IsFile(directory / name)) return directory / name;
  }
  for (const WeightsFormat format : {WeightsFormat::kNpz, WeightsFormat::kTorchPt}) {
    const std::vector<fs::path> found = FilesOf(directory, [&](const fs::path& path) {
      const std::string name = path.filename().string();
      return IsWeightsFile(name) && WeightsFormatOf(name) == format;
    });
    if (!found.empty()) return found.front();
  }
  LFM2_ASSIGN_OR_RETURN(const fs::path gguf, GgufOf(directory));
  if (!gguf.empty()) return gguf;
  const std::string name = directory.filename().string();
  return Error(Reason::kFileNotFound,
               "folder \"" + name +
                   "\" has no weights file: model.safetensors, model.safetensors.index.json, "
                   "*.npz, *.pt, *.pth, *.bin or *.gguf",
               {{"file", name}});
}

fs::path TokenizerDirectory(const fs::path& directory) {
  for (const std::string_view name : kTokenizerFiles) {
    if (IsFile(directory / name)) return directory;
  }
  return FilesOf(directory, [](const fs::path& path) { return path.extension() == ".model"; })
                 .empty()
             ? fs::path()
             : directory;
}

absl::StatusOr<TensorArchive> ReadWeights(const fs::path& path, const std::string& format) {
  if (format == "safetensors") return ReadSafetensors(path);
  if (format == "npz") return ReadNpz(path);
  if (format == "pt") return ReadTorchPt(path);
  return Error(Reason::kModelFileInvalid,
               "\"" + path.filename().string() + "\" is not one of " + WeightsExtensions(),
               {{"file", path.filename().string()}});
}

// Some published configs hold the adjusted width although block_auto_adjust_ff_dim is true, so the
// width is taken from the weights.
absl::Status ReconcileWidth(const TensorArchive& weights, ModelConfig& config) {
  if (!config.formula_intermediate_size) return absl::OkStatus();
  const std::string name = config.Weight(Role::kGate, 0);
  const TensorView* gate = weights.Find(name);
  if (gate == nullptr || gate->shape.empty()) return absl::OkStatus();
  const int64_t rows = gate->shape[0];
  if (rows == *config.formula_intermediate_size || rows == *config.configured_intermediate_size) {
    config.intermediate_size = rows;
    return absl::OkStatus();
  }
  return Error(Reason::kWeightsMismatch,
               name + " has " + std::to_string(rows) + " rows; the config's intermediate_size = " +
                   std::to_string(*config.configured_intermediate_size) +
                   ", adjusted by block_auto_adjust_ff_dim's formula, gives " +
                   std::to_string(*config.formula_intermediate_size),
               {{"tensor", name},
                {"actual", std::to_string(rows)},
                {"expected", std::to_string(*config.formula_intermediate_size)}});
}

bool SameBytes(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes &&
         (a.bytes == 0 || std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes)) == 0);
}

bool HeadRepeatsEmbedding(const TensorArchive& weights) {
  const TensorView* head = weights.Find(kHeadWeight);
  const TensorView* embedding = weights.Find(kEmbeddingWeight);
  return head != nullptr && embedding != nullptr && SameBytes(*head, *embedding);
}

void DropRepeatedHead(const ModelConfig& config, TensorArchive& weights) {
  if (!config.tie_word_embeddings || !HeadRepeatsEmbedding(weights)) return;
  auto& tensors = weights.tensors;
  tensors.erase(std::remove_if(tensors.begin(), tensors.end(),
                               [](const TensorView& tensor) { return tensor.name == kHeadWeight; }),
                tensors.end());
}

// One line for each tensor that does not match the config.
std::vector<std::string> Mismatches(const ModelConfig& config, const TensorArchive& weights) {
  std::unordered_map<std::string_view, const TensorView*> left;
  for (const TensorView& tensor : weights.tensors) left[tensor.name] = &tensor;
  std::vector<std::string> out;
  const std::vector<TensorSpec> specs = config.TensorSpecs();
  for (const TensorSpec& spec : specs) {
    const auto it = left.find(spec.name);
    if (it == left.end()) {
      out.push_back(spec.name + " is missing (expected " + ShapeToString(spec.shape) + ")");
      continue;
    }
    if (it->second->shape != spec.shape) {
      out.push_back(spec.name + " is " + ShapeToString(it->second->shape) + ", expected " +
                    ShapeToString(spec.shape));
    }
    left.erase(it);
  }
  for (const TensorView& tensor : weights.tensors) {
    if (left.count(tensor.name) == 0) continue;
    if (config.tie_word_embeddings && tensor.name == kHeadWeight) {
      if (HeadRepeatsEmbedding(weights)) continue;
      out.push_back("lm_head.weight differs from the embedding that the config ties it to");
      continue;
    }
    out.push_back(tensor.name + " " + ShapeToString(tensor.shape) + " is not part of this model");
  }
  return out;
}

absl::StatusOr<ModelFolder> OpenGguf(const fs::path& path) {
  LFM2_ASSIGN_OR_RETURN(GgufFile file, ReadGguf(path));
  LFM2_ASSIGN_OR_RETURN(ModelConfig config, ModelFromGguf(path.filename().string(), file));
  LFM2_RETURN_IF_ERROR(ReconcileWidth(file.weights, config));
  ModelFolder folder;
  if (IsFile(path.parent_path() / kJsonTokenizerFile)) {
    folder.tokenizer_dir = path.parent_path();
  } else if (file.metadata.count("tokenizer.ggml.model") > 0) {
    folder.tokenizer_dir = path;
  }
  folder.weights_file = path;
  folder.config = std::move(config);
  folder.weights = std::move(file.weights);
  folder.format = "gguf";
  return folder;
}

absl::StatusOr<ModelFolder> OpenFile(const fs::path& path) {
  ModelFolder folder;
  folder.format = FormatOf(path);
  if (folder.format == "gguf") return OpenGguf(path);
  LFM2_ASSIGN_OR_RETURN(folder.weights, ReadWeights(path, folder.format));
  folder.weights_file = path;
  return folder;
}

absl::StatusOr<ModelFolder> OpenDirectory(const fs::path& directory) {
  if (!IsFile(directory / kModelConfigFile)) {
    LFM2_ASSIGN_OR_RETURN(const fs::path gguf, GgufOf(directory));
    if (!gguf.empty()) return OpenGguf(gguf);
  }
  LFM2_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(directory));
  LFM2_ASSIGN_OR_RETURN(const fs::path weights, WeightsOf(directory));
  LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenFile(weights));
  LFM2_RETURN_IF_ERROR(ReconcileWidth(folder.weights, config));
  DropRepeatedHead(config, folder.weights);
  folder.config = std::move(config);
  const fs::path tokenizer = TokenizerDirectory(directory);
  if (!tokenizer.empty()) folder.tokenizer_dir = tokenizer;
  return folder;
}

}  // namespace

absl::StatusOr<ModelFolder> OpenModelFolder(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return OpenDirectory(path);
  if (!fs::exists(path, error)) {
    const std::string name = path.filename().string();
    return Error(Reason::kFileNotFound, "no file or folder is named \"" + name + "\"",
                 {{"file", name}});
  }
  return OpenFile(path);
}

absl::StatusOr<ModelConfig> ReadModelConfig(const fs::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(directory / kModelConfigFile, kMaxConfigBytes));
  LFM2_ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text));
  LFM2_RETURN_IF_ERROR(ReadGenerationConfig(directory / kGenerationConfigFile, config));
  return config;
}

absl::Status CheckWeights(const ModelConfig& config, const TensorArchive& weights) {
  const std::vector<std::string> mismatches = Mismatches(config, weights);
  if (mismatches.empty()) return absl::OkStatus();
  std::string message = std::to_string(mismatches.size()) + " tensors contradict the config: ";
  for (size_t i = 0; i < std::min(mismatches.size(), kNamedMismatches); ++i) {
    if (i > 0) message += "; ";
    message += mismatches[i];
  }
  if (mismatches.size() > kNamedMismatches) message += "; and others";
  return Error(Reason::kWeightsMismatch, message, {{"tensors", std::to_string(mismatches.size())}});
}

}  // namespace lfm2
