#include "server/store/model_store.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/formats/hf_cache.h"
#include "server/store/disk.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHfPrefix = "hf:";
constexpr std::string_view kManifestFile = "manifest.json";
constexpr std::string_view kCurrentFile = "current";
constexpr int64_t kManifestBytes = 64 << 10;
constexpr size_t kVersionDigits = 9;

// N of "v<N>"; accepts only what VersionName writes.
std::optional<int64_t> VersionNumber(std::string_view name) {
  if (name.size() < 2 || name.size() > 1 + kVersionDigits) return std::nullopt;
  if (name[0] != 'v' || name[1] == '0') return std::nullopt;
  int64_t number = 0;
  for (const char digit : name.substr(1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + (digit - '0');
  }
  return number;
}

std::string VersionName(int64_t number) { return "v" + std::to_string(number); }

std::string ManifestToJson(const ModelManifest& manifest) {
  Json json;
  json["created_at_ms"] = manifest.created_at_ms;
  json["made_from"] = manifest.made_from;
  json["job_id"] = manifest.job_id;
  json["tokenizer_sha256"] = manifest.tokenizer_sha256;
  json["tokenizer_kind"] = manifest.tokenizer_kind;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status TakeString(const Json& json, const char* key, std::string& out) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    return Error(Reason::kModelFileInvalid,
                 "manifest.json: \"" + std::string(key) + "\" is not a string");
  }
  out = found->get<std::string>();
  return absl::OkStatus();
}

absl::StatusOr<ModelManifest> ReadManifest(const fs::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(directory / kManifestFile, kManifestBytes));
  absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) {
    return Error(Reason::kModelFileInvalid,
                 "manifest.json: " + std::string(json.status().message()));
  }
  if (!json->is_object())
    return Error(Reason::kModelFileInvalid, "manifest.json is not a JSON object");
  ModelManifest manifest;
  const auto created = json->find("created_at_ms");
  if (created == json->end() || !created->is_number_integer()) {
    return Error(Reason::kModelFileInvalid, "manifest.json: \"created_at_ms\" is not an integer");
  }
  manifest.created_at_ms = created->get<int64_t>();
  LFM2_RETURN_IF_ERROR(TakeString(*json, "made_from", manifest.made_from));
  LFM2_RETURN_IF_ERROR(TakeString(*json, "job_id", manifest.job_id));
  LFM2_RETURN_IF_ERROR(TakeString(*json, "tokenizer_sha256", manifest.tokenizer_sha256));
  LFM2_RETURN_IF_ERROR(TakeString(*json, "tokenizer_kind", manifest.tokenizer_kind));
  return manifest;
}

// Version numbers in a model's folder, lowest first.
absl::StatusOr<std::vector<int64_t>> VersionNumbers(const fs::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> names, EntriesOf(directory));
  std::vector<int64_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = VersionNumber(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// nullopt when no version has been served yet.
absl::StatusOr<std::optional<int64_t>> CurrentNumber(const fs::path& directory) {
  absl::StatusOr<std::string> text = ReadFile(directory / kCurrentFile, 64);
  if (!text.ok() && DetailsOf(text.status()).reason == Reason::kFileNotFound) {
    return std::optional<int64_t>();
  }
  if (!text.ok()) return text.status();
  while (!text->empty() && text->back() == '\n') text->pop_back();
  const std::optional<int64_t> number = VersionNumber(*text);
  if (!number.has_value()) {
    return Error(Reason::kStorageIoError, "the file \"current\" of model \"" +
                                              directory.filename().string() +
                                              "\" does not name a version");
  }
  return number;
}

absl::Status WriteCurrent(const fs::path& directory, int64_t number) {
  return WriteFileDurably(directory / kCurrentFile, VersionName(number) + "\n");
}

// Repairs a crash between the rename of a first version and the writing of `current`, after which
// no version would be served.
absl::Status FinishPublish(const fs::path& directory) {
  LFM2_RETURN_IF_ERROR(RemoveLeftovers(directory));
  std::error_code error;
  if (fs::exists(directory / kCurrentFile, error)) return absl::OkStatus();
  LFM2_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, VersionNumbers(directory));
  return numbers.empty() ? absl::OkStatus() : WriteCurrent(directory, numbers.back());
}

absl::StatusOr<ModelVersion> VersionAt(const fs::path& directory, int64_t number) {
  ModelVersion version;
  version.name = directory.filename().string();
  version.version = VersionName(number);
  version.directory = directory / version.version;
  absl::StatusOr<ModelManifest> manifest = ReadManifest(version.directory);
  if (!manifest.ok() && DetailsOf(manifest.status()).reason == Reason::kFileNotFound) {
    return NotFound(Reason::kModelNotFound, "model", version.name + "@" + version.version);
  }
  if (!manifest.ok()) return Annotate(manifest.status(), version.name + "@" + version.version);
  version.manifest = *std::move(manifest);
  return version;
}

absl::StatusOr<ModelVersion> ResolveCached(const fs::path& cache, std::string_view name) {
  LFM2_ASSIGN_OR_RETURN(HfSnapshot snapshot, ResolveHfModel(cache, name));
  ModelVersion version;
  version.name = std::string(kHfPrefix) + std::string(name.substr(0, name.find('@')));
  version.version = std::move(snapshot.commit);
  version.directory = std::move(snapshot.directory);
  version.manifest.made_from = std::string(kHfPrefix) + std::string(name);
  return version;
}

absl::StatusOr<std::optional<ModelVersion>> FindByJob(const fs::path& directory,
                                                      const std::vector<int64_t>& numbers,
                                                      const std::string& job_id) {
  if (job_id.empty()) return std::optional<ModelVersion>();
  for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
    absl::StatusOr<ModelVersion> version = VersionAt(directory, *number);
    if (version.ok() && version->manifest.job_id == job_id)
      return std::optional(*std::move(version));
  }
  return std::optional<ModelVersion>();
}

}  // namespace

ModelStore::ModelStore(fs::path root, fs::path hf_cache_root)
    : root_(std::move(root)), hf_cache_root_(std::move(hf_cache_root)) {}

absl::StatusOr<std::unique_ptr<ModelStore>> ModelStore::Open(const fs::path& root,
                                                             const fs::path& hf_cache_root) {
  LFM2_RETURN_IF_ERROR(MakeDirectory(root));
  LFM2_RETURN_IF_ERROR(RemoveLeftovers(root));
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> names, EntriesOf(root));
  for (const std::string& name : names) {
    std::error_code error;
    if (name.starts_with('.') || !fs::is_directory(root / name, error)) continue;
    LFM2_RETURN_IF_ERROR(FinishPublish(root / name));
  }
  return std::unique_ptr<ModelStore>(new ModelStore(root, hf_cache_root));
}

absl::StatusOr<ModelVersion> ModelStore::Resolve(const std::string& reference) const {
  const std::string_view whole = reference;
  if (whole.starts_with(kHfPrefix)) {
    return ResolveCached(hf_cache_root_, whole.substr(kHfPrefix.size()));
  }
  const size_t at = whole.find('@');
  const std::string name(whole.substr(0, at));
  LFM2_RETURN_IF_ERROR(CheckPlainName("model name", name, kDefaultLimits.name_bytes));
  std::optional<int64_t> number;
  if (at == std::string_view::npos) {
    LFM2_ASSIGN_OR_RETURN(number, CurrentNumber(root_ / name));
  } else {
    const std::string_view version = whole.substr(at + 1);
    LFM2_RETURN_IF_ERROR(CheckPlainName("model version", version, kDefaultLimits.name_bytes));
    number = VersionNumber(version);
  }
  if (!number.has_value()) return NotFound(Reason::kModelNotFound, "model", reference);
  return VersionAt(root_ / name, *number);
}

absl::StatusOr<std::vector<ModelVersion>> ModelStore::List() const {
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> names, EntriesOf(root_));
  std::vector<ModelVersion> versions;
  for (const std::string& name : names) {
    if (!CheckPlainName("model name", name, kDefaultLimits.name_bytes).ok()) continue;
    absl::StatusOr<ModelVersion> version = Resolve(name);
    if (version.ok()) {
      versions.push_back(*std::move(version));
    } else if (DetailsOf(version.status()).reason != Reason::kModelNotFound) {
      // A damaged model must not hide the others.
      Log(LogLevel::kWarning, "model cannot be listed",
          {{"model", name}, {"error", std::string(version.status().message())}});
    }
  }
  return versions;
}

absl::StatusOr<std::vector<std::string>> ModelStore::Versions(const std::string& name) const {
  LFM2_RETURN_IF_ERROR(CheckPlainName("model name", name, kDefaultLimits.name_bytes));
  std::error_code error;
  std::vector<std::string> versions;
  if (fs::is_directory(root_ / name, error)) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, VersionNumbers(root_ / name));
    for (const int64_t number : numbers) versions.push_back(VersionName(number));
  }
  if (versions.empty()) return NotFound(Reason::kModelNotFound, "model", name);
  return versions;
}

absl::StatusOr<ModelVersion> ModelStore::Publish(const fs::path& directory, const std::string& name,
                                                 const ModelManifest& manifest) {
  LFM2_RETURN_IF_ERROR(CheckPlainName("model name", name, kDefaultLimits.name_bytes));
  MutexLock lock(mutex_);
  const fs::path home = root_ / name;
  LFM2_RETURN_IF_ERROR(MakeDirectory(home));
  LFM2_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, VersionNumbers(home));
  LFM2_ASSIGN_OR_RETURN(const std::optional<int64_t> current, CurrentNumber(home));
  LFM2_ASSIGN_OR_RETURN(std::optional<ModelVersion> published,
                        FindByJob(home, numbers, manifest.job_id));
  if (!published.has_value()) {
    const int64_t number = numbers.empty() ? 1 : numbers.back() + 1;
    LFM2_RETURN_IF_ERROR(WriteFileDurably(directory / kManifestFile, ManifestToJson(manifest)));
    LFM2_RETURN_IF_ERROR(PublishDirectory(directory, home / VersionName(number)));
    LFM2_ASSIGN_OR_RETURN(published, VersionAt(home, number));
  }
  // Also when the job's version already existed, because a crash may have come before this line.
  // Never goes back to an older version.
  const int64_t number = VersionNumber(published->version).value_or(0);
  if (current.value_or(0) < number) LFM2_RETURN_IF_ERROR(WriteCurrent(home, number));
  return *std::move(published);
}

}  // namespace lfm2
