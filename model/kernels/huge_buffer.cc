#include "model/kernels/huge_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "model/core/errors.h"

namespace lfm2 {
namespace {

constexpr uintptr_t kPage = 4096;
constexpr uintptr_t kHugePage = uintptr_t{2} << 20;

uintptr_t RoundUp(uintptr_t value, uintptr_t unit) { return (value + unit - 1) / unit * unit; }

void Unmap(uintptr_t begin, uintptr_t end) {
  if (begin < end) munmap(reinterpret_cast<void*>(begin), end - begin);
}

}  // namespace

absl::StatusOr<HugeBuffer> HugeBuffer::Allocate(int64_t bytes) {
  const uintptr_t size = RoundUp(static_cast<uintptr_t>(bytes), kPage);
  // A mapping of its own that begins on a huge page and ends on a small one: no page is paid for
  // that holds nothing.
  const uintptr_t slack = size >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      /*fd=*/-1, /*offset=*/0);
  if (mapped == MAP_FAILED) {
    return Error(Reason::kOutOfMemory, "no memory for " + std::to_string(bytes) +
                                           " bytes of weights: " + std::strerror(errno));
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = slack == 0 ? begin : RoundUp(begin, kHugePage);
  Unmap(begin, aligned);
  Unmap(aligned + size, begin + size + slack);
  HugeBuffer buffer;
  buffer.data_ = reinterpret_cast<std::byte*>(aligned);
  buffer.bytes_ = bytes;
#if defined(MADV_HUGEPAGE)
  // Refused where the system has none: small pages hold the same numbers.
  if (slack != 0) madvise(buffer.data_, size, MADV_HUGEPAGE);
#endif
  return buffer;
}

HugeBuffer::~HugeBuffer() {
  if (data_ == nullptr) return;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data_);
  Unmap(begin, begin + RoundUp(static_cast<uintptr_t>(bytes_), kPage));
}

}  // namespace lfm2
