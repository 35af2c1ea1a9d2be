// Job ids: UUID version 7 (RFC 9562), strictly ascending, so that their order is the order of
// acceptance even if the wall clock is set back. Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lfm2 {

bool IsUuid(std::string_view text);  // lower-case 8-4-4-4-12

class UuidSequence {
 public:
  // All new ids are greater than `newest`, which may be empty.
  explicit UuidSequence(std::string_view newest);
  std::string Next(int64_t unix_ms);

 private:
  uint64_t last_ = 0;  // 48 bits of milliseconds, then a 12-bit counter within a millisecond
};

}  // namespace lfm2
