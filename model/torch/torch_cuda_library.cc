#include "model/torch/torch_cuda_library.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

// Empty if the linker does not give a path.
std::string LoadedTorchFolder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0) return "";
  return std::filesystem::path(info.dli_fname).parent_path().string();
}

}  // namespace

std::vector<std::string> TorchLibraryFolders() {
  std::vector<std::string> folders;
  const auto add = [&](const std::string& folder) {
    if (!folder.empty() && std::find(folders.begin(), folders.end(), folder) == folders.end()) {
      folders.push_back(folder);
    }
  };
  // The environment does not change after the program's start.
  const char* named = std::getenv("LFM2_TORCH_LIB_DIR");  // NOLINT(concurrency-mt-unsafe)
  if (named != nullptr) add(named);
  add(LoadedTorchFolder());
  add(LFM2_TORCH_LIB_DIR);
  return folders;
}

absl::Status OpenTorchCuda(const std::vector<std::string>& folders) {
  std::string reasons;
  for (const std::string& folder : folders) {
    const std::string path = folder + "/libtorch_cuda.so";
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): per thread in glibc
    absl::StrAppend(&reasons, reasons.empty() ? "" : "; ",
                    why != nullptr ? why : "no reason given");
  }
  return Error(Reason::kDeviceUnavailable,
               absl::StrCat("LibTorch's CUDA libraries cannot be opened (`make setup CUDA=1` "
                            "installs them): ",
                            reasons));
}

}  // namespace lfm2
