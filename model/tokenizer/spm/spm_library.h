// liblfm2_spm.so, opened once: the functions of spm_abi.h as pointers.
// Thread rule: SpmLibrary::Open may be called from many threads; the result is const and is never
// destroyed.
#pragma once

#include "absl/status/statusor.h"
#include "model/tokenizer/spm/spm_abi.h"

namespace lfm2 {

struct SpmLibrary {
  decltype(&lfm2_spm_create) create;
  decltype(&lfm2_spm_free) free;
  decltype(&lfm2_spm_size) size;
  decltype(&lfm2_spm_piece) piece;
  decltype(&lfm2_spm_kind_of) kind_of;
  decltype(&lfm2_spm_bos) bos;
  decltype(&lfm2_spm_eos) eos;
  decltype(&lfm2_spm_pad) pad;
  decltype(&lfm2_spm_encode) encode;
  decltype(&lfm2_spm_decode) decode;
  decltype(&lfm2_spm_free_ids) free_ids;
  decltype(&lfm2_spm_free_text) free_text;

  // Opens the file that LFM2_SPM_LIBRARY names, else the one in the program's folder. kUnsupported
  // when it does not exist, cannot be opened (with the linker's message), or has another version.
  static absl::StatusOr<const SpmLibrary*> Open();
};

}  // namespace lfm2
