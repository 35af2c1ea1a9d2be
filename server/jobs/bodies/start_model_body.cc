#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "base/disk_full.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/file_kinds.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/tokenizer/load_tokenizer.h"
#include "server/jobs/bodies/start_model.h"
#include "server/jobs/wire/job_folder.h"
#include "server/store/dataset_store.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPlainByteVocabulary = 256;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

absl::Status FolderError(const std::error_code& error, std::string_view what) {
  return Error(MeansDiskFull(error) ? Reason::kDiskFull : Reason::kStorageIoError,
               std::string(what) + ": " + error.message());
}

absl::Status MakeEmpty(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (!error) fs::create_directories(directory, error);
  return error ? FolderError(error, "making a work folder") : absl::OkStatus();
}

// Makes a folder with links to the uploaded files under their names.
absl::Status LinkFiles(const std::vector<NamedFile>& files, const DatasetPaths& paths,
                       const fs::path& directory) {
  LFM2_RETURN_IF_ERROR(MakeEmpty(directory));
  for (const NamedFile& file : files) {
    LFM2_RETURN_IF_ERROR(CheckPlainName("file name", file.name, kDefaultLimits.name_bytes));
    LFM2_ASSIGN_OR_RETURN(const fs::path target, PathOfDataset(paths, file.dataset));
    std::error_code error;
    fs::create_symlink(fs::absolute(target), directory / file.name, error);
    if (error == std::errc::file_exists) {
      return Error(Reason::kInvalidArgument, "two files have the name \"" + file.name + "\"",
                   {{"file", file.name}});
    }
    if (error) return FolderError(error, "naming \"" + file.name + "\"");
  }
  return absl::OkStatus();
}

// Returns the only weights file; several ones are an error, because without a config.json it is
// unknown how they belong together.
absl::StatusOr<std::string> OnlyWeightsFile(const std::vector<NamedFile>& files) {
  std::vector<std::string> found;
  for (const NamedFile& file : files) {
    if (IsWeightsFile(file.name)) found.push_back(file.name);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return Error(Reason::kFileNotFound, "the source has no weights file: " + WeightsExtensions());
  }
  return Error(Reason::kModelFileInvalid, "the source has " + std::to_string(found.size()) +
                                              " weights files and no config.json");
}

// If a weights file was uploaded with a tokenizer but without a config, the tokenizer is in the
// folder of links.
fs::path TokenizerFolder(const fs::path& found, const fs::path& directory) {
  if (!found.empty()) return found;
  for (const std::string_view name : kTokenizerFiles) {
    if (IsFile(directory / name)) return directory;
  }
  return {};
}

absl::StatusOr<ModelFolder> OpenFiles(const SourceSpec& source, const DatasetPaths& paths,
                                      const fs::path& link_dir) {
  LFM2_RETURN_IF_ERROR(LinkFiles(source.files, paths, link_dir));
  fs::path path = link_dir;
  if (!IsFile(link_dir / kModelConfigFile)) {
    LFM2_ASSIGN_OR_RETURN(const std::string file, OnlyWeightsFile(source.files));
    path /= file;
  }
  LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenConversionSource(path));
  folder.tokenizer_dir = TokenizerFolder(folder.tokenizer_dir, link_dir);
  return folder;
}

struct ChosenTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: no tokenizer was requested
  fs::path directory;
};

absl::StatusOr<ChosenTokenizer> Load(const fs::path& path) {
  ChosenTokenizer chosen;
  LFM2_ASSIGN_OR_RETURN(chosen.tokenizer, LoadTokenizer(path));
  chosen.directory = path;
  return chosen;
}

// The byte tokenizer with its marker file in a separate folder, so that it is copied like any
// other.
absl::StatusOr<ChosenTokenizer> Bytes(const fs::path& directory) {
  LFM2_RETURN_IF_ERROR(MakeEmpty(directory));
  LFM2_RETURN_IF_ERROR(WriteFileDurably(directory / kByteTokenizerFile, "{}\n"));
  return Load(directory);
}

absl::StatusOr<ChosenTokenizer> Explicit(const SourceSpec& spec, const DatasetPaths& paths,
                                         const fs::path& directory) {
  switch (spec.kind) {
    case SourceSpec::Kind::kNone:
      return ChosenTokenizer{};
    case SourceSpec::Kind::kBytes:
      return Bytes(directory);
    case SourceSpec::Kind::kFolder:
      return Load(spec.directory);
    case SourceSpec::Kind::kFiles:
      LFM2_RETURN_IF_ERROR(LinkFiles(spec.files, paths, directory));
      // A single file may have any name; several are identified by their names.
      return Load(spec.files.size() == 1 ? directory / spec.files.front().name : directory);
  }
  return Error(Reason::kInternal, "unknown kind of tokenizer source");
}

absl::Status CheckSameTokenizer(const ChosenTokenizer& asked, const std::string& asked_name,
                                const ChosenTokenizer& own, const std::string& model_name) {
  if (asked.tokenizer == nullptr || own.tokenizer == nullptr) return absl::OkStatus();
  if (asked.tokenizer->sha256() == own.tokenizer->sha256()) return absl::OkStatus();
  return Error(
      Reason::kTokenizerMismatch,
      "the tokenizer \"" + asked_name + "\" (" + asked.tokenizer->kind() + ", sha256 " +
          asked.tokenizer->sha256() + ") is not that of model \"" + model_name + "\" (" +
          own.tokenizer->kind() + ", sha256 " + own.tokenizer->sha256() + ")",
      {{"tokenizer_sha256", asked.tokenizer->sha256()}, {"model_sha256", own.tokenizer->sha256()}});
}

absl::Status CheckVocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                             const std::string& model_name) {
  if (tokenizer.vocab_size() <= config.vocab_size) return absl::OkStatus();
  return Error(Reason::kTokenizerMismatch,
               "the " + tokenizer.kind() + " tokenizer has " +
                   std::to_string(tokenizer.vocab_size()) + " ids, but the vocabulary of model \"" +
                   model_name + "\" has " + std::to_string(config.vocab_size),
               {{"tokenizer_vocab_size", std::to_string(tokenizer.vocab_size())},
                {"model_vocab_size", std::to_string(config.vocab_size)}});
}

void TakeSpecialTokens(const Tokenizer& tokenizer, ModelConfig& config) {
  config.bos_token_id = tokenizer.bos();
  config.eos_token_id = tokenizer.eos();
  config.pad_token_id = tokenizer.pad();
  config.eos_token_ids.clear();
  if (tokenizer.eos()) config.eos_token_ids = {*tokenizer.eos()};
}

absl::StatusOr<bool> IsStoredAsItIs(const JobSpec& spec, const StartModel& start) {
  if (spec.source.kind != SourceSpec::Kind::kFolder || spec.partial) return false;
  const ModelFolder& source = *start.source;
  std::error_code error;
  if (!source.config || (source.format != "safetensors" && source.format != "gguf") ||
      !fs::is_directory(spec.source.directory, error))
    return false;
  LFM2_ASSIGN_OR_RETURN(const ModelConfig own, ParseModelConfig(ModelConfigToJson(*source.config)));
  return own == start.config && CheckWeights(*source.config, source.weights).ok();
}

absl::Status ResolveTokenizer(const JobSpec& spec, const DatasetPaths& paths,
                              const fs::path& work_dir, StartModel& start) {
  LFM2_ASSIGN_OR_RETURN(ChosenTokenizer chosen,
                        Explicit(spec.tokenizer, paths, work_dir / kTokenizerFolder));
  if (start.source && !start.source->tokenizer_dir.empty()) {
    LFM2_ASSIGN_OR_RETURN(const ChosenTokenizer own, Load(start.source->tokenizer_dir));
    if (spec.kind == JobKind::kTrain && !spec.partial) {
      LFM2_RETURN_IF_ERROR(CheckSameTokenizer(chosen, spec.tokenizer.name, own, spec.source.name));
    }
    if (chosen.tokenizer == nullptr) chosen = own;
  }
  start.tokenizer = chosen.tokenizer;
  start.tokenizer_dir = chosen.directory;
  return absl::OkStatus();
}

// Uses bytes if no tokenizer was requested. A vocabulary of exactly 256 does not have ids for the
// special tokens, so such a model gets no tokenizer.
absl::Status FallBackToBytes(const JobSpec& spec, const fs::path& work_dir, StartModel& start) {
  if (start.tokenizer != nullptr) return absl::OkStatus();
  if (spec.kind == JobKind::kInit && start.config.vocab_size == kPlainByteVocabulary)
    return absl::OkStatus();
  LFM2_ASSIGN_OR_RETURN(ChosenTokenizer bytes, Bytes(work_dir / kTokenizerFolder));
  start.tokenizer = std::move(bytes.tokenizer);
  start.tokenizer_dir = std::move(bytes.directory);
  return absl::OkStatus();
}

}  // namespace

DatasetPaths DatasetPathsUnder(const fs::path& root, const JobSpec& spec) {
  DatasetPaths paths;
  for (const auto* files : {&spec.datasets, &spec.source.files, &spec.tokenizer.files}) {
    for (const NamedFile& file : *files) {
      if (const auto hash = DatasetHashOf(file.dataset)) {
        paths[file.dataset] = DatasetFileUnder(root, *hash);
      }
    }
  }
  return paths;
}

absl::StatusOr<fs::path> PathOfDataset(const DatasetPaths& paths, const std::string& dataset) {
  const auto it = paths.find(dataset);
  if (it == paths.end() || !IsFile(it->second))
    return NotFound(Reason::kDatasetNotFound, "dataset", dataset);
  return it->second;
}

absl::StatusOr<std::optional<ModelFolder>> OpenSource(const SourceSpec& source,
                                                      const DatasetPaths& paths,
                                                      const fs::path& link_dir) {
  switch (source.kind) {
    case SourceSpec::Kind::kNone:
    case SourceSpec::Kind::kBytes:
      return std::optional<ModelFolder>();
    case SourceSpec::Kind::kFolder: {
      LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenConversionSource(source.directory));
      return std::optional<ModelFolder>(std::move(folder));
    }
    case SourceSpec::Kind::kFiles: {
      LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenFiles(source, paths, link_dir));
      return std::optional<ModelFolder>(std::move(folder));
    }
  }
  return Error(Reason::kInternal, "unknown kind of model source");
}

absl::StatusOr<StartModel> ResolveStartModel(const JobSpec& spec, const DatasetPaths& paths,
                                             const fs::path& work_dir) {
  StartModel start;
  LFM2_ASSIGN_OR_RETURN(start.source, OpenSource(spec.source, paths, work_dir / kSourceFolder));
  LFM2_RETURN_IF_ERROR(ResolveTokenizer(spec, paths, work_dir, start));
  start.conversion = {spec.shape, spec.partial, spec.seed};
  if (!start.source && !spec.shape.vocab_size && start.tokenizer != nullptr) {
    start.conversion.shape.vocab_size = start.tokenizer->vocab_size();
  }
  LFM2_ASSIGN_OR_RETURN(start.config,
                        PlanConfig(start.source ? &*start.source : nullptr, start.conversion));
  LFM2_RETURN_IF_ERROR(FallBackToBytes(spec, work_dir, start));
  if (start.tokenizer != nullptr) {
    const std::string name = start.source ? spec.source.name : spec.model_name;
    LFM2_RETURN_IF_ERROR(CheckVocabulary(*start.tokenizer, start.config, name));
    if (!start.source) TakeSpecialTokens(*start.tokenizer, start.config);
  }
  if (start.source) {
    LFM2_ASSIGN_OR_RETURN(start.stored_as_it_is, IsStoredAsItIs(spec, start));
    start.source->tokenizer_dir = start.tokenizer_dir;  // the conversion copies it
  }
  return start;
}

absl::StatusOr<ConversionReport> MakeModel(const StartModel& start, const fs::path& destination,
                                           const std::function<void(int64_t, int64_t)>& progress,
                                           const std::function<bool()>& may_publish) {
  const fs::path aside = destination.string() + ".tmp";
  std::error_code error;
  fs::remove_all(aside, error);
  if (error) return FolderError(error, "removing an old work folder");
  LFM2_ASSIGN_OR_RETURN(ConversionReport report,
                        ConvertModel(start.source ? &*start.source : nullptr, start.config,
                                     start.conversion, aside, progress));
  if (!start.source && !start.tokenizer_dir.empty()) {
    LFM2_RETURN_IF_ERROR(CopyTokenizerFiles(start.tokenizer_dir, aside));
    LFM2_RETURN_IF_ERROR(SyncDirectory(aside));
  }
  if (!may_publish())
    return Error(Reason::kWorkerHung, "the worker lost its lease, so its model is discarded");
  fs::remove_all(destination, error);
  if (!error) fs::rename(aside, destination, error);
  if (error) return FolderError(error, "putting the model in its place");
  LFM2_RETURN_IF_ERROR(SyncDirectory(destination.parent_path()));
  return report;
}

}  // namespace lfm2
