// Models in a folder, the golden ones among them, as a loader makes them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/cpu_loader.h"

namespace lfm2 {

inline absl::StatusOr<std::shared_ptr<LoadedModel>> LoadWith(
    const absl::StatusOr<ModelLoader>& loader, const std::filesystem::path& directory) {
  if (!loader.ok()) return loader.status();
  ModelVersion version;
  version.name = directory.filename().string();
  version.version = "v1";
  version.directory = directory;
  return (*loader)(version);
}

inline absl::StatusOr<std::shared_ptr<LoadedModel>> LoadForCpu(
    const std::filesystem::path& directory, const CpuLoaderOptions& options = {}) {
  return LoadWith(MakeCpuModelLoader(options), directory);
}

inline std::shared_ptr<LoadedModel> GoldenModel(const std::string& name,
                                                const CpuLoaderOptions& options = {}) {
  return LoadForCpu(std::filesystem::path(LFM2_GOLDENS_DIR) / name, options).value();
}

}  // namespace lfm2
