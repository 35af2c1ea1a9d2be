// Reads parts of a sentencepiece ModelProto before the library does: two decoding rules that the
// library's interface does not expose, and checks that the library does not make. Source:
// sentencepiece_model.proto, and the layout of its precompiled character map (a darts-clone double
// array, then NUL-terminated strings). Thread rule: pure.
//
// Why not libprotobuf: Debian's sentencepiece exports its own protobuf, 3.14. It works together
// with another protobuf only when opened with RTLD_DEEPBIND, which AddressSanitizer does not allow.
// A sanitizer or fuzz program with libprotobuf would refuse every model ("compiled against version
// 3.14.0").
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

struct SpmSpec {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;

  // kTokenizerInvalid when the bytes are not a protobuf message, or when the character map points
  // outside itself, which the library does not check.
  static absl::StatusOr<SpmSpec> Read(std::string_view model_bytes);
};

}  // namespace lfm2
