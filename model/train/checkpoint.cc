#include "model/train/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aside_directory.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/formats/safetensors.h"
#include "model/torch/weights.h"

namespace lfm2 {
namespace {

constexpr char kPrefix[] = "ckpt-";
constexpr char kConfigFile[] = "config.json";
constexpr char kModelFile[] = "model.safetensors";
constexpr char kOptimizerFile[] = "optimizer.safetensors";
constexpr char kStateFile[] = "state.json";
constexpr char kManifestFile[] = "manifest.json";
constexpr std::array<const char*, 4> kFiles = {kConfigFile, kModelFile, kOptimizerFile, kStateFile};
constexpr int64_t kSmallFileBytes = 1 << 20;
constexpr int64_t kFormat = 1;

std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<CheckpointName> ParseName(std::string_view text) {
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(sizeof(kPrefix) - 1);
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto step = ParseNumber(text.substr(0, dash));
  const auto token = ParseNumber(text.substr(dash + 1));
  if (!step || !token) return std::nullopt;
  return CheckpointName{*step, *token};
}

absl::Status WriteTensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  LFM2_ASSIGN_OR_RETURN(const HostTensors host, ToHost(tensors));
  return WriteSafetensors(path, host.views, {{"format", "pt"}});
}

std::string StateToJson(const CheckpointState& state) {
  return Json{{"format", kFormat},           {"step", state.step}, {"epoch", state.cursor.epoch},
              {"index", state.cursor.index}, {"loss", state.loss}, {"loss_ema", state.loss_ema},
              {"run_hash", state.run_hash}}
      .dump(2);
}

absl::StatusOr<CheckpointState> StateFromJson(std::string_view text) {
  LFM2_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  try {
    CheckpointState state;
    state.step = json.at("step").get<int64_t>();
    state.cursor.epoch = json.at("epoch").get<int64_t>();
    state.cursor.index = json.at("index").get<int64_t>();
    state.loss = json.at("loss").get<double>();
    state.loss_ema = json.at("loss_ema").get<double>();
    state.run_hash = json.at("run_hash").get<std::string>();
    return state;
  } catch (const Json::exception& error) {
    return Error(Reason::kCheckpointCorrupt, absl::StrCat(kStateFile, ": ", error.what()));
  }
}

absl::Status WriteManifest(const std::filesystem::path& directory) {
  Json files = Json::array();
  for (const char* name : kFiles) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(directory / name, error);
    if (error) return Error(Reason::kStorageIoError, absl::StrCat(name, ": ", error.message()));
    LFM2_ASSIGN_OR_RETURN(std::string sha256, Sha256OfFile(directory / name));
    files.push_back({{"name", name}, {"bytes", bytes}, {"sha256", std::move(sha256)}});
  }
  return WriteFileDurably(directory / kManifestFile,
                          Json{{"format", kFormat}, {"files", std::move(files)}}.dump(2));
}

absl::Status Fill(const std::filesystem::path& directory, const CheckpointContent& content) {
  LFM2_RETURN_IF_ERROR(
      WriteFileDurably(directory / kConfigFile, ModelConfigToJson(content.config)));
  LFM2_RETURN_IF_ERROR(WriteTensors(directory / kModelFile, content.parameters));
  LFM2_RETURN_IF_ERROR(WriteTensors(directory / kOptimizerFile, content.optimizer_state));
  LFM2_RETURN_IF_ERROR(WriteFileDurably(directory / kStateFile, StateToJson(content.state)));
  return WriteManifest(directory);
}

absl::Status Corrupt(const CheckpointName& name, const std::string& file, const std::string& what) {
  return Error(Reason::kCheckpointCorrupt, absl::StrCat(name.ToString(), ": ", file, " ", what),
               {{"checkpoint", name.ToString()}, {"file", file}});
}

struct ManifestEntry {
  std::string sha256;
  int64_t bytes = 0;
};

absl::StatusOr<std::map<std::string, ManifestEntry>> ReadManifest(
    const std::filesystem::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(directory / kManifestFile, kSmallFileBytes));
  LFM2_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  try {
    std::map<std::string, ManifestEntry> entries;
    for (const Json& file : json.at("files")) {
      entries[file.at("name").get<std::string>()] = {file.at("sha256").get<std::string>(),
                                                     file.at("bytes").get<int64_t>()};
    }
    return entries;
  } catch (const Json::exception& error) {
    return Error(Reason::kCheckpointCorrupt, error.what());
  }
}

absl::Status VerifyFiles(const std::filesystem::path& directory, const CheckpointName& name) {
  const auto manifest = ReadManifest(directory);
  if (!manifest.ok()) {
    return Corrupt(name, kManifestFile,
                   absl::StrCat("cannot be read: ", manifest.status().message()));
  }
  for (const char* file : kFiles) {
    const auto entry = manifest->find(file);
    if (entry == manifest->end()) return Corrupt(name, file, "is not in the manifest");
    std::error_code error;
    const auto bytes = std::filesystem::file_size(directory / file, error);
    if (error) return Corrupt(name, file, "is missing");
    if (static_cast<int64_t>(bytes) != entry->second.bytes) {
      return Corrupt(
          name, file,
          absl::StrCat("has ", bytes, " bytes, the manifest says ", entry->second.bytes));
    }
    LFM2_ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(directory / file));
    if (sha256 != entry->second.sha256) {
      return Corrupt(name, file, "does not have the manifest's SHA-256");
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string CheckpointName::ToString() const {
  return absl::StrCat(kPrefix, step, "-", fencing_token);
}

std::vector<CheckpointName> ListCheckpoints(const std::filesystem::path& job_dir) {
  std::vector<CheckpointName> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(job_dir, error)) {
    if (const auto name = ParseName(entry.path().filename().string())) names.push_back(*name);
  }
  std::sort(names.begin(), names.end(), [](const CheckpointName& a, const CheckpointName& b) {
    return std::tie(a.step, a.fencing_token) > std::tie(b.step, b.fencing_token);
  });
  return names;
}

absl::Status WriteCheckpoint(const std::filesystem::path& job_dir, const CheckpointName& name,
                             const CheckpointContent& content,
                             const std::function<bool()>& may_publish) {
  const auto write = [&]() -> absl::Status {
    LFM2_ASSIGN_OR_RETURN(AsideDirectory aside, AsideDirectory::Create(job_dir / name.ToString()));
    LFM2_RETURN_IF_ERROR(Fill(aside.path(), content));
    if (!may_publish()) {
      return Error(
          Reason::kWrongState,
          absl::StrCat("this worker lost its lease: ", name.ToString(), " is not published"));
    }
    return aside.Replace();
  };
  const absl::Status status = write();
  if (DetailsOf(status).reason != Reason::kDiskFull || status.ok()) return status;
  return Error(Reason::kCheckpointDiskFull,
               absl::StrCat(name.ToString(), ": ", status.message(),
                            "; the checkpoints before it are intact"),
               {{"checkpoint", name.ToString()}});
}

absl::StatusOr<LoadedCheckpoint> ReadCheckpoint(const std::filesystem::path& job_dir,
                                                const CheckpointName& name) {
  const std::filesystem::path directory = job_dir / name.ToString();
  LFM2_RETURN_IF_ERROR(VerifyFiles(directory, name));
  LoadedCheckpoint loaded;
  loaded.name = name;
  LFM2_ASSIGN_OR_RETURN(const std::string state, ReadFile(directory / kStateFile, kSmallFileBytes));
  LFM2_ASSIGN_OR_RETURN(loaded.state, StateFromJson(state));
  LFM2_ASSIGN_OR_RETURN(loaded.weights, ReadSafetensors(directory / kModelFile));
  LFM2_ASSIGN_OR_RETURN(loaded.optimizer_state, ReadSafetensors(directory / kOptimizerFile));
  return loaded;
}

absl::StatusOr<std::optional<LoadedCheckpoint>> ReadNewestCheckpoint(
    const std::filesystem::path& job_dir, const std::function<void(const std::string&)>& note) {
  for (const CheckpointName& name : ListCheckpoints(job_dir)) {
    absl::StatusOr<LoadedCheckpoint> loaded = ReadCheckpoint(job_dir, name);
    if (loaded.ok()) return std::optional<LoadedCheckpoint>(*std::move(loaded));
    // After a read error the checkpoint may still be good, so only a corrupt one is removed.
    if (DetailsOf(loaded.status()).reason != Reason::kCheckpointCorrupt) return loaded.status();
    note(absl::StrCat("fell back past ", name.ToString(),
                      ", which is torn and was removed: ", loaded.status().message()));
    std::error_code error;
    std::filesystem::remove_all(job_dir / name.ToString(), error);
    if (error) return Error(Reason::kStorageIoError, error.message());
  }
  return std::optional<LoadedCheckpoint>();
}

absl::Status RemoveOldCheckpoints(const std::filesystem::path& job_dir,
                                  const CheckpointName& newest, int64_t keep) {
  int64_t kept = 1;
  for (const CheckpointName& name : ListCheckpoints(job_dir)) {
    if (name.ToString() == newest.ToString() || kept++ < keep) continue;
    std::error_code error;
    std::filesystem::remove_all(job_dir / name.ToString(), error);
    if (error) {
      return Error(Reason::kStorageIoError,
                   absl::StrCat("removing ", name.ToString(), ": ", error.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace lfm2
