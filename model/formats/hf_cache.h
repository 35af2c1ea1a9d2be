// The local Hugging Face cache: models--org--name/{refs,snapshots,blobs}. Never uses the network.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

// HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
std::filesystem::path DefaultHfCacheRoot();

struct HfSnapshot {
  std::filesystem::path directory;  // …/snapshots/<commit>
  std::string commit;
};

// "org/name" or "org/name@revision" (a ref or a commit). kModelNotFound, naming the model and the
// command that fetches it. kPathOutsideRoot when the name has other characters or a link in the
// snapshot points outside the cache.
absl::StatusOr<HfSnapshot> ResolveHfModel(const std::filesystem::path& cache_root,
                                          std::string_view name);

}  // namespace lfm2
