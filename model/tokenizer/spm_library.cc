#include "model/tokenizer/spm_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "model/core/errors.h"
#include "model/core/program_folder.h"
#include "model/core/status_macros.h"

#if defined(__SANITIZE_ADDRESS__)
#define LFM2_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LFM2_UNDER_ASAN 1
#endif
#endif

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr char kFileName[] = "liblfm2_spm.so";

// DEEPBIND: the library's own protobuf wins over the program's. AddressSanitizer cannot work with
// it; the programs that are built with that have no other protobuf.
#ifdef LFM2_UNDER_ASAN
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

std::vector<fs::path> Candidates() {
  // Nobody changes the environment after the program's start.
  if (const char* named = std::getenv("LFM2_SPM_LIBRARY"))
    return {named};  // NOLINT(concurrency-mt-unsafe)
  const fs::path folder = ProgramFolder();
  return {folder / kFileName, folder / ".." / "lib" / kFileName, folder / ".." / "bin" / kFileName};
}

template <typename Function>
bool Resolve(void* library, const char* name, Function& out) {
  out = reinterpret_cast<Function>(dlsym(library, name));
  return out != nullptr;
}

absl::StatusOr<SpmLibrary> Load() {
  std::error_code error;
  for (const fs::path& path : Candidates()) {
    if (!fs::exists(path, error)) continue;
    void* library = dlopen(path.c_str(), kOpenFlags);
    if (library == nullptr) {
      return Error(Reason::kUnsupported,
                   std::string(kFileName) + " cannot be opened: a library it needs is missing");
    }
    SpmLibrary spm{};
    const bool whole = Resolve(library, "lfm2_spm_create", spm.create) &&
                       Resolve(library, "lfm2_spm_free", spm.free) &&
                       Resolve(library, "lfm2_spm_size", spm.size) &&
                       Resolve(library, "lfm2_spm_piece", spm.piece) &&
                       Resolve(library, "lfm2_spm_kind_of", spm.kind_of) &&
                       Resolve(library, "lfm2_spm_bos", spm.bos) &&
                       Resolve(library, "lfm2_spm_eos", spm.eos) &&
                       Resolve(library, "lfm2_spm_pad", spm.pad) &&
                       Resolve(library, "lfm2_spm_encode", spm.encode) &&
                       Resolve(library, "lfm2_spm_decode", spm.decode) &&
                       Resolve(library, "lfm2_spm_free_ids", spm.free_ids) &&
                       Resolve(library, "lfm2_spm_free_text", spm.free_text);
    if (whole) return spm;
    return Error(Reason::kUnsupported, std::string(kFileName) + " is of another version");
  }
  return Error(
      Reason::kUnsupported,
      std::string(kFileName) + " is not beside the program: sentencepiece models cannot be read");
}

}  // namespace

absl::StatusOr<const SpmLibrary*> SpmLibrary::Open() {
  static const absl::StatusOr<SpmLibrary>* const library = new absl::StatusOr<SpmLibrary>(Load());
  if (!library->ok()) return library->status();
  return &**library;
}

}  // namespace lfm2
