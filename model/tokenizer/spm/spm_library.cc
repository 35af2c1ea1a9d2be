#include "model/tokenizer/spm/spm_library.h"

#include <string>

#include "base/errors.h"
#include "base/program_library.h"
#include "base/status_macros.h"

#if defined(__SANITIZE_ADDRESS__)
#define LFM2_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LFM2_UNDER_ASAN 1
#endif
#endif

namespace lfm2 {
namespace {

constexpr char kFileName[] = "liblfm2_spm.so";

// DEEPBIND: the library must use its own protobuf, not the program's. AddressSanitizer does not
// support it; programs built with the sanitizer have no other protobuf.
#ifdef LFM2_UNDER_ASAN
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

absl::StatusOr<SpmLibrary> Load() {
  LFM2_ASSIGN_OR_RETURN(void* const library,
                        OpenProgramLibrary(kFileName, "LFM2_SPM_LIBRARY", kOpenFlags));
  SpmLibrary spm{};
  const bool whole = FindFunction(library, "lfm2_spm_create", spm.create) &&
                     FindFunction(library, "lfm2_spm_free", spm.free) &&
                     FindFunction(library, "lfm2_spm_size", spm.size) &&
                     FindFunction(library, "lfm2_spm_piece", spm.piece) &&
                     FindFunction(library, "lfm2_spm_kind_of", spm.kind_of) &&
                     FindFunction(library, "lfm2_spm_bos", spm.bos) &&
                     FindFunction(library, "lfm2_spm_eos", spm.eos) &&
                     FindFunction(library, "lfm2_spm_pad", spm.pad) &&
                     FindFunction(library, "lfm2_spm_encode", spm.encode) &&
                     FindFunction(library, "lfm2_spm_decode", spm.decode) &&
                     FindFunction(library, "lfm2_spm_free_ids", spm.free_ids) &&
                     FindFunction(library, "lfm2_spm_free_text", spm.free_text);
  if (whole) return spm;
  return Error(Reason::kUnsupported, std::string(kFileName) + " has another version");
}

}  // namespace

absl::StatusOr<const SpmLibrary*> SpmLibrary::Open() {
  static const absl::StatusOr<SpmLibrary>* const library = new absl::StatusOr<SpmLibrary>(Load());
  if (!library->ok()) return library->status();
  return &**library;
}

}  // namespace lfm2
