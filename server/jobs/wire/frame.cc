#include "server/jobs/wire/frame.h"

#include "base/errors.h"

namespace lfm2 {

std::string MakeFrame(std::string_view payload) {
  std::string frame;
  frame.reserve(payload.size() + 4);
  const uint32_t length = static_cast<uint32_t>(payload.size());
  for (int shift = 0; shift < 32; shift += 8) frame.push_back(static_cast<char>(length >> shift));
  return frame.append(payload);
}

absl::StatusOr<std::optional<std::string>> FrameBuffer::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (rest.size() < 4) return std::nullopt;
  uint32_t length = 0;
  for (int i = 0; i < 4; ++i) length |= uint32_t{static_cast<uint8_t>(rest[i])} << (8 * i);
  if (length > kMaxFrameBytes) {
    return Error(Reason::kInternal, "a message has " + std::to_string(length) +
                                        " bytes, over the limit of " +
                                        std::to_string(kMaxFrameBytes));
  }
  if (rest.size() - 4 < length) return std::nullopt;
  std::string payload(rest.substr(4, length));
  begin_ += 4 + size_t{length};
  if (begin_ == buffer_.size() || begin_ > (1 << 20)) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  return std::optional<std::string>(std::move(payload));
}

}  // namespace lfm2
