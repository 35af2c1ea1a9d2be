// The errors of all weights readers, and the checked arithmetic that they use.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace lfm2 {

// kModelFileInvalid: "<file>: <rule> (at byte <offset>)" with metadata {file, offset, rule}.
absl::Status FileInvalid(std::string_view file, int64_t offset, std::string_view rule);

// False when the result does not fit in 63 bits; `out` is then unspecified.
[[nodiscard]] inline bool CheckedAdd(int64_t a, int64_t b, int64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}
[[nodiscard]] inline bool CheckedMul(int64_t a, int64_t b, int64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}

}  // namespace lfm2
