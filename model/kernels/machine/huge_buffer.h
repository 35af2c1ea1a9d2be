// Zeroed memory for weights, on huge pages where the system gives them: reading gigabytes a step
// through 4 KiB pages costs more in address translation than in data.
//
// Thread rule: none of its own; it is plain memory. Ownership: a buffer owns its mapping, or shares
// it with the others of its arena; move-only.
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
  // Memory of its own, at least 64-byte aligned; `bytes` >= 1. kOutOfMemory when the system has no
  // address space.
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

// Puts buffers one after another into mappings of many, so that small ones and the ends of large
// ones are on huge pages too. A mapping goes with the last of its buffers, not with the arena.
// Thread rule: one thread.
class HugeArena {
 public:
  // As HugeBuffer::Allocate.
  absl::StatusOr<HugeBuffer> Allocate(int64_t bytes);

 private:
  std::shared_ptr<HugeMapping> mapping_;  // the newest
  uintptr_t used_ = 0;                    // bytes of it
};

}  // namespace lfm2
