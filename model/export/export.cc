#include "model/export/export.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aside_directory.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/export/hf_folder.h"
#include "model/export/tensor_spool.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "model/torch/weights.h"

namespace lfm2 {
namespace {

constexpr char kNpzFile[] = "model.npz";
constexpr char kMetaFile[] = "model.json";
constexpr char kSpoolFile[] = "spool";

// numpy does not have bfloat16, and neither format has block types; these become float32 without
// loss.
bool IsWidened(const TensorView& tensor, ExportFormat format) {
  return IsBlockType(tensor.dtype) ||
         (format == ExportFormat::kNpz && tensor.dtype == DType::kBF16);
}

// A tensor as the format stores it.
struct Stored {
  TensorView view;
  at::Tensor owner;  // of widened data; else undefined
};

absl::StatusOr<Stored> AsStored(const TensorView& tensor, ExportFormat format) {
  if (!IsWidened(tensor, format)) return Stored{tensor, {}};
  Stored stored;
  stored.owner = AsTensor(tensor).to(at::kFloat);
  LFM2_ASSIGN_OR_RETURN(stored.view, AsView(tensor.name, stored.owner));
  return stored;
}

class Export {
 public:
  Export(const ModelFolder& model, const ExportRequest& request,
         const std::function<void(int64_t, int64_t)>& progress)
      : model_(model), request_(request), progress_(progress) {}

  absl::StatusOr<std::vector<ExportedFile>> Run();

 private:
  absl::Status CollectTensors();
  absl::StatusOr<std::vector<TensorView>> StoredTensors(const std::filesystem::path& directory,
                                                        TensorArchive& widened);
  absl::Status WriteNpzAndMeta(const std::filesystem::path& directory);
  absl::Status WriteSafetensorsFolder(const std::filesystem::path& directory);
  absl::StatusOr<std::string> Meta(const std::filesystem::path& npz);
  absl::Status CompareReadBack(const std::filesystem::path& directory);
  void Advance() {
    if (progress_) progress_(++done_, 2 * static_cast<int64_t>(tensors_.size()));
  }

  const ModelFolder& model_;
  const ExportRequest& request_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::vector<const TensorView*> tensors_;     // in the config's order
  std::map<std::string, std::string> hashes_;  // SHA-256 of files, by name
  int64_t done_ = 0;
};

absl::Status Export::CollectTensors() {
  if (!model_.config) {
    return Error(Reason::kConfigInvalid, "a model without a config.json cannot be exported");
  }
  LFM2_RETURN_IF_ERROR(CheckWeights(*model_.config, model_.weights));
  for (const TensorSpec& spec : model_.config->TensorSpecs()) {
    tensors_.push_back(model_.weights.Find(spec.name));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Export::Meta(const std::filesystem::path& npz) {
  Json tensors = Json::object();
  for (const TensorView* tensor : tensors_) {
    const bool widened = IsWidened(*tensor, request_.format);
    Json entry = {{"shape", tensor->shape},
                  {"dtype", SafetensorsName(widened ? DType::kF32 : tensor->dtype)},
                  {"llama_cpp", LlamaCppName(model_.config->names(), tensor->name)}};
    if (widened) entry["widened_from"] = SafetensorsName(tensor->dtype);
    tensors[tensor->name] = std::move(entry);
  }
  LFM2_ASSIGN_OR_RETURN(const Json config, ParseJson(ModelConfigToJson(*model_.config)));
  LFM2_ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(npz));
  hashes_[kNpzFile] = sha256;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(npz, error);
  if (error) return Error(Reason::kStorageIoError, absl::StrCat(kNpzFile, ": ", error.message()));
  return Json{{"format", "lfm2d npz"},
              {"format_version", 1},
              {"model", {{"name", request_.model_name}, {"version", request_.model_version}}},
              {"tokenizer_sha256", request_.tokenizer_sha256},
              {"npz", {{"file", kNpzFile}, {"bytes", bytes}, {"sha256", sha256}}},
              {"config", config},
              {"tensors", std::move(tensors)}}
             .dump(2) +
         "\n";
}

// The tensors as the format stores them; `widened` holds those that were converted.
absl::StatusOr<std::vector<TensorView>> Export::StoredTensors(
    const std::filesystem::path& directory, TensorArchive& widened) {
  LFM2_ASSIGN_OR_RETURN(TensorSpool spool, TensorSpool::Create(directory / kSpoolFile));
  for (const TensorView* tensor : tensors_) {
    if (IsWidened(*tensor, request_.format)) {
      LFM2_ASSIGN_OR_RETURN(const Stored stored, AsStored(*tensor, request_.format));
      LFM2_RETURN_IF_ERROR(spool.Add(stored.view));
    }
    Advance();
  }
  if (spool.empty()) {
    std::error_code ignored;
    std::filesystem::remove(directory / kSpoolFile, ignored);
  } else {
    LFM2_ASSIGN_OR_RETURN(widened, spool.Finish());
  }
  std::vector<TensorView> views;
  for (const TensorView* tensor : tensors_) {
    const TensorView* wide = widened.Find(tensor->name);
    views.push_back(wide != nullptr ? *wide : *tensor);
  }
  return views;
}

absl::Status Export::WriteNpzAndMeta(const std::filesystem::path& directory) {
  TensorArchive widened;
  LFM2_ASSIGN_OR_RETURN(const std::vector<TensorView> views, StoredTensors(directory, widened));
  LFM2_RETURN_IF_ERROR(WriteNpz(directory / kNpzFile, views));
  LFM2_ASSIGN_OR_RETURN(const std::string meta, Meta(directory / kNpzFile));
  return WriteFileDurably(directory / kMetaFile, meta);
}

absl::Status Export::WriteSafetensorsFolder(const std::filesystem::path& directory) {
  TensorArchive widened;
  LFM2_ASSIGN_OR_RETURN(const std::vector<TensorView> views, StoredTensors(directory, widened));
  const std::filesystem::path& tokenizer =
      request_.tokenizer_dir.empty() ? model_.tokenizer_dir : request_.tokenizer_dir;
  return WriteHfFolder({*model_.config, views, tokenizer}, directory);
}

absl::Status Export::CompareReadBack(const std::filesystem::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const TensorArchive read,
                        request_.format == ExportFormat::kNpz
                            ? ReadNpz(directory / kNpzFile)
                            : ReadSafetensors(directory / "model.safetensors"));
  if (read.tensors.size() != tensors_.size()) {
    return Error(Reason::kExportMismatch,
                 absl::StrCat("read back ", read.tensors.size(), " tensors of ", tensors_.size()));
  }
  for (const TensorView* tensor : tensors_) {
    LFM2_ASSIGN_OR_RETURN(const Stored expected, AsStored(*tensor, request_.format));
    const TensorView* found = read.Find(tensor->name);
    const TensorView& want = expected.view;
    if (found == nullptr || found->dtype != want.dtype || found->shape != want.shape ||
        found->bytes != want.bytes ||
        (want.bytes > 0 &&
         std::memcmp(found->data, want.data, static_cast<size_t>(want.bytes)) != 0)) {
      return Error(Reason::kExportMismatch,
                   absl::StrCat(tensor->name, " read back differs from the model"),
                   {{"tensor", tensor->name}});
    }
    Advance();
  }
  return absl::OkStatus();
}

// `known`: hashes of files that are already hashed, by name.
absl::StatusOr<std::vector<ExportedFile>> ListFiles(
    const std::filesystem::path& directory, const std::map<std::string, std::string>& known) {
  std::vector<ExportedFile> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    ExportedFile file;
    file.name = entry.path().filename().string();
    file.bytes = static_cast<int64_t>(entry.file_size(error));
    if (error) break;
    if (const auto hash = known.find(file.name); hash != known.end()) {
      file.sha256 = hash->second;
    } else {
      LFM2_ASSIGN_OR_RETURN(file.sha256, Sha256OfFile(entry.path()));
    }
    files.push_back(std::move(file));
  }
  if (error) return Error(Reason::kStorageIoError, absl::StrCat("export: ", error.message()));
  std::sort(files.begin(), files.end(),
            [](const ExportedFile& a, const ExportedFile& b) { return a.name < b.name; });
  return files;
}

absl::StatusOr<std::vector<ExportedFile>> Export::Run() {
  std::error_code error;
  if (std::filesystem::exists(request_.destination, error)) {
    return Error(Reason::kModelExists,
                 absl::StrCat("the export's destination \"",
                              request_.destination.filename().string(), "\" exists already"));
  }
  LFM2_RETURN_IF_ERROR(CollectTensors());
  LFM2_ASSIGN_OR_RETURN(AsideDirectory aside, AsideDirectory::Create(request_.destination));
  LFM2_RETURN_IF_ERROR(request_.format == ExportFormat::kNpz
                           ? WriteNpzAndMeta(aside.path())
                           : WriteSafetensorsFolder(aside.path()));
  LFM2_RETURN_IF_ERROR(CompareReadBack(aside.path()));
  LFM2_ASSIGN_OR_RETURN(std::vector<ExportedFile> files, ListFiles(aside.path(), hashes_));
  LFM2_RETURN_IF_ERROR(aside.Publish());
  return files;
}

}  // namespace

absl::StatusOr<std::vector<ExportedFile>> ExportModel(
    const ModelFolder& model, const ExportRequest& request,
    const std::function<void(int64_t, int64_t)>& progress) {
  try {
    return Export(model, request, progress).Run();
  } catch (const c10::Error& error) {
    return Error(Reason::kInternal, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "a tensor of the export does not fit in memory");
  }
}

}  // namespace lfm2
