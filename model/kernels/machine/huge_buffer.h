// Zeroed memory for weights, on huge pages if the system provides them: reading gigabytes per step
// through 4 KiB pages costs more for address translation than for data.
//
// Thread rule: plain memory. Ownership: a buffer owns its mapping, or shares it with the other
// buffers of its arena; move-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

namespace lfm2 {

class HugeMapping;

class HugeBuffer {
 public:
  // A buffer with its own mapping, at least 64-byte aligned; `bytes` >= 1. kOutOfMemory when the
  // system has no address space.
  static absl::StatusOr<HugeBuffer> Allocate(int64_t bytes);

  HugeBuffer() = default;
  HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }
  HugeBuffer& operator=(HugeBuffer&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  friend class HugeArena;
  HugeBuffer(std::shared_ptr<HugeMapping> mapping, std::byte* data, int64_t bytes)
      : mapping_(std::move(mapping)), data_(data), bytes_(bytes) {}

  std::shared_ptr<HugeMapping> mapping_;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Places many buffers one after another in shared mappings, so that small buffers and the ends of
// large ones are on huge pages too. A mapping is released with the last of its buffers, not with
// the arena. Thread rule: one thread.
class HugeArena {
 public:
  // As HugeBuffer::Allocate.
  absl::StatusOr<HugeBuffer> Allocate(int64_t bytes);

 private:
  std::shared_ptr<HugeMapping> mapping_;  // the newest
  uintptr_t used_ = 0;                    // bytes of it
};

}  // namespace lfm2
