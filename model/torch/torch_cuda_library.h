// libtorch_cuda.so, which is not linked: it is opened where there is an NVIDIA driver.
//
// Thread rule: any thread. What was opened stays open for the life of the process.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

// Where it may stand, in the order in which it is looked for: the folder that LFM2_TORCH_LIB_DIR
// names, that of the libtorch_cpu.so which this process runs with (an image has no other), the one
// that the build unpacked.
std::vector<std::string> TorchLibraryFolders();

// From the first folder that it can be opened from. kDeviceUnavailable with what the linker says of
// each.
absl::Status OpenTorchCuda(const std::vector<std::string>& folders);

}  // namespace lfm2
