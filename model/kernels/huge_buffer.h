// Zeroed memory for weights, on huge pages where the system gives them: reading gigabytes a step
// through 4 KiB pages costs more in address translation than in data.
//
// Thread rule: none of its own; it is plain memory. Ownership: owns the mapping; move-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace lfm2 {

class HugeBuffer {
 public:
  // At least 64-byte aligned; `bytes` >= 1. kOutOfMemory when the system has no address space.
  static absl::StatusOr<HugeBuffer> Allocate(int64_t bytes);

  HugeBuffer() = default;
  ~HugeBuffer();
  HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }
  HugeBuffer& operator=(HugeBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace lfm2
