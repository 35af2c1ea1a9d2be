// Messages on a byte stream: little-endian u32 length, then the bytes. Thread rule: one thread at a
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

inline constexpr uint32_t kMaxFrameBytes = 32 << 20;

std::string MakeFrame(std::string_view payload);

// Takes bytes as they arrive; returns whole payloads.
class FrameBuffer {
 public:
  void Append(std::string_view bytes) { buffer_.append(bytes); }
  // nullopt: more bytes are needed. kInternal for a length over kMaxFrameBytes, after which the
  // stream cannot be read.
  absl::StatusOr<std::optional<std::string>> Next();

 private:
  std::string buffer_;
  size_t begin_ = 0;
};

}  // namespace lfm2
