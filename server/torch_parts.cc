#include "server/torch_parts.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "model/core/errors.h"
#include "model/core/program_folder.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr char kFileName[] = "liblfm2_torch.so";

fs::path LibraryPath() {
  // Nobody changes the environment after the program's start.
  const char* named = std::getenv("LFM2_TORCH_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
  if (named != nullptr) return named;
  return ProgramFolder() / kFileName;
}

absl::StatusOr<const TorchParts*> Open() {
  void* library = dlopen(LibraryPath().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it by thread
    return Error(Reason::kUnsupported, std::string(kFileName) + " cannot be opened: " +
                                           (why != nullptr ? why : "no reason given"));
  }
  const auto parts =
      reinterpret_cast<decltype(&lfm2_torch_parts)>(dlsym(library, "lfm2_torch_parts"));
  if (parts == nullptr || parts()->build != TorchPartsBuild()) {
    return Error(Reason::kUnsupported,
                 std::string(kFileName) + " is of another build than this program");
  }
  return parts();
}

}  // namespace

absl::StatusOr<const TorchParts*> OpenTorchParts() {
  static std::atomic<const TorchParts*> opened = nullptr;
  if (const TorchParts* parts = opened.load()) return parts;
  // Two threads may come here at once: the linker opens the library once. A failure is not kept,
  // since a file, memory or a descriptor may be there at the next try.
  absl::StatusOr<const TorchParts*> parts = Open();
  if (parts.ok()) opened = *parts;
  return parts;
}

}  // namespace lfm2
