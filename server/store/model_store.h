// Models on disk: data_dir/models/<name>/v<N>/ holds a Hugging Face folder and manifest.json;
// `current` names the served version. A version never changes once it is published. "hf:org/name"
// resolves in the local Hugging Face cache.
//
// Thread rule: any thread. A version is written under a temporary name, fsynced and renamed, so it
// is either absent or complete.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace lfm2 {

struct ModelManifest {
  int64_t created_at_ms = 0;
  std::string made_from;  // source or parent, as the request named it
  std::string job_id;
  std::string tokenizer_sha256;
  std::string tokenizer_kind;
};

struct ModelVersion {
  std::string name;     // "ckpt" or "hf:org/name"
  std::string version;  // "v3", or the commit
  std::filesystem::path directory;
  ModelManifest manifest;
};

class ModelStore {
 public:
  // `root` is data_dir/models. Removes every ".<anything>.tmp" in it, which an interrupted publish
  // left behind; callers may prepare a version at such a path.
  static absl::StatusOr<std::unique_ptr<ModelStore>> Open(
      const std::filesystem::path& root, const std::filesystem::path& hf_cache_root);

  // "name", "name@v2", "hf:org/name[@revision]". kModelNotFound, kPathOutsideRoot.
  absl::StatusOr<ModelVersion> Resolve(const std::string& reference) const;
  // The served version of each model, sorted by name.
  absl::StatusOr<std::vector<ModelVersion>> List() const;
  absl::StatusOr<std::vector<std::string>> Versions(const std::string& name) const;  // oldest first

  // Moves `directory` (same file system, complete, fsynced) into place as the next version of
  // `name` and makes it the served one. When a version with the same job_id exists, returns that
  // version and adds none. kDiskFull.
  absl::StatusOr<ModelVersion> Publish(const std::filesystem::path& directory,
                                       const std::string& name, const ModelManifest& manifest);

 private:
  ModelStore(std::filesystem::path root, std::filesystem::path hf_cache_root);
  const std::filesystem::path root_;
  const std::filesystem::path hf_cache_root_;
  mutable Mutex mutex_;  // one publish at a time
};

}  // namespace lfm2
