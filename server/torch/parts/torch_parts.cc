#include "server/torch/parts/torch_parts.h"

#include <atomic>
#include <string>

#include "base/errors.h"
#include "base/program_library.h"
#include "base/status_macros.h"
#include "server/torch/parts/build_id.h"

namespace lfm2 {
namespace {

constexpr char kFileName[] = "liblfm2_torch.so";

absl::StatusOr<const TorchParts*> Open() {
  LFM2_ASSIGN_OR_RETURN(void* const library, OpenProgramLibrary(kFileName, "LFM2_TORCH_LIBRARY"));
  decltype(&lfm2_torch_parts) parts = nullptr;
  if (!FindFunction(library, "lfm2_torch_parts", parts) || parts()->build != kBuildId) {
    return Error(Reason::kUnsupported,
                 std::string(kFileName) + " is from another build than this program");
  }
  return parts();
}

}  // namespace

absl::StatusOr<const TorchParts*> OpenTorchParts() {
  static std::atomic<const TorchParts*> opened = nullptr;
  if (const TorchParts* parts = opened.load()) return parts;
  // Two threads may get here at once: the linker opens the library only once. A failure is not
  // remembered, since the file, memory or a descriptor may be available at the next try.
  absl::StatusOr<const TorchParts*> parts = Open();
  if (parts.ok()) opened = *parts;
  return parts;
}

}  // namespace lfm2
