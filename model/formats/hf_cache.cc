#include "model/formats/hf_cache.h"

#include <cstdlib>
#include <system_error>

#include "base/errors.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxRefBytes = 256;
constexpr int64_t kMaxSnapshotFiles = 10'000;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct ModelName {
  std::string organisation;  // empty if the name has none ("gpt2")
  std::string model;
  std::string revision = "main";

  std::string Folder() const {
    return "models--" + (organisation.empty() ? "" : organisation + "--") + model;
  }
};

absl::StatusOr<ModelName> ParseName(std::string_view name) {
  ModelName out;
  const size_t at = name.find('@');
  if (at != std::string_view::npos) out.revision = name.substr(at + 1);
  const std::string_view repository = name.substr(0, at);
  const size_t slash = repository.find('/');
  if (slash != std::string_view::npos) {
    out.organisation = repository.substr(0, slash);
    LFM2_RETURN_IF_ERROR(
        CheckPlainName("organisation", out.organisation, kDefaultLimits.name_bytes));
  }
  out.model = repository.substr(slash == std::string_view::npos ? 0 : slash + 1);
  LFM2_RETURN_IF_ERROR(CheckPlainName("model", out.model, kDefaultLimits.name_bytes));
  LFM2_RETURN_IF_ERROR(CheckPlainName("revision", out.revision, kDefaultLimits.name_bytes));
  return out;
}

absl::Status NotCached(std::string_view name) {
  ErrorDetails details;
  details.reason = Reason::kModelNotFound;
  details.resource_type = "model";
  details.resource_name = name;
  const std::string repository(name.substr(0, name.find('@')));
  return WithDetails("model \"" + std::string(name) +
                         "\" is not in the local Hugging Face cache; fetch it first: hf download " +
                         repository,
                     details);
}

// A ref's file holds the commit; a revision without such a file is a commit itself.
absl::StatusOr<std::string> CommitOf(const fs::path& repository, const ModelName& name) {
  absl::StatusOr<std::string> ref = ReadFile(repository / "refs" / name.revision, kMaxRefBytes);
  if (!ref.ok()) return name.revision;
  std::string commit = *ref;
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  LFM2_RETURN_IF_ERROR(CheckPlainName("commit", commit, kDefaultLimits.name_bytes));
  return commit;
}

bool IsBelow(const fs::path& path, const fs::path& root) {
  auto part = path.begin();
  for (const fs::path& expected : root) {
    if (part == path.end() || *part != expected) return false;
    ++part;
  }
  return true;
}

// Links in a snapshot must point to blobs of the same cache; otherwise they could read any file of
// the host.
absl::Status CheckLinks(const fs::path& snapshot, const fs::path& root) {
  std::error_code error;
  int64_t files = 0;
  for (fs::recursive_directory_iterator it(snapshot, error), end; !error && it != end;
       it.increment(error)) {
    if (++files > kMaxSnapshotFiles) {
      return Error(Reason::kInvalidArgument, "the snapshot holds more files than the limit of " +
                                                 std::to_string(kMaxSnapshotFiles));
    }
    std::error_code missing;
    const fs::path target = fs::canonical(it->path(), missing);
    const std::string file = it->path().filename().string();
    if (missing) {
      return Error(Reason::kFileNotFound,
                   "\"" + file + "\" of the snapshot is a broken link: its download did not finish",
                   {{"file", file}});
    }
    if (!IsBelow(target, root)) {
      return Error(Reason::kPathOutsideRoot,
                   "\"" + file + "\" of the snapshot is a link that leads outside the cache",
                   {{"file", file}});
    }
  }
  if (error) return Error(Reason::kStorageIoError, "reading the snapshot: " + error.message());
  return absl::OkStatus();
}

}  // namespace

fs::path DefaultHfCacheRoot() {
  if (const std::string cache = Environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = Environment("HF_HOME"); !home.empty()) {
    return fs::path(home) / "hub";
  }
  return fs::path(Environment("HOME")) / ".cache" / "huggingface" / "hub";
}

absl::StatusOr<HfSnapshot> ResolveHfModel(const fs::path& cache_root, std::string_view name) {
  LFM2_ASSIGN_OR_RETURN(const ModelName parsed, ParseName(name));
  std::error_code error;
  const fs::path root = fs::canonical(cache_root, error);
  if (error) return NotCached(name);
  const fs::path repository = root / parsed.Folder();
  LFM2_ASSIGN_OR_RETURN(const std::string commit, CommitOf(repository, parsed));
  const fs::path snapshot = fs::canonical(repository / "snapshots" / commit, error);
  if (error || !fs::is_directory(snapshot, error)) return NotCached(name);
  if (!IsBelow(snapshot, root)) {
    return Error(Reason::kPathOutsideRoot, "the snapshot is a link that leads outside the cache");
  }
  LFM2_RETURN_IF_ERROR(CheckLinks(snapshot, root));
  return HfSnapshot{snapshot, commit};
}

}  // namespace lfm2
