// Opens libtorch_cuda.so, which is not linked, on machines with an NVIDIA driver.
//
// Thread rule: any thread. An opened library stays open until the process ends.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

// The folders to search, in this order: the one in LFM2_TORCH_LIB_DIR, the one with the
// libtorch_cpu.so that this process uses (the only one in an image), and the one that the build
// unpacked.
std::vector<std::string> TorchLibraryFolders();

// Opens the library from the first folder where that works. kDeviceUnavailable with the linker's
// message for each folder.
absl::Status OpenTorchCuda(const std::vector<std::string>& folders);

}  // namespace lfm2
