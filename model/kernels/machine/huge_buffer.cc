#include "model/kernels/machine/huge_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr uintptr_t kPage = 4096;
constexpr uintptr_t kHugePage = uintptr_t{2} << 20;

uintptr_t RoundUp(uintptr_t value, uintptr_t unit) { return (value + unit - 1) / unit * unit; }

void Unmap(uintptr_t begin, uintptr_t end) {
  if (begin < end) munmap(reinterpret_cast<void*>(begin), end - begin);
}

constexpr uintptr_t kArenaBytes = uintptr_t{32} << 20;
constexpr uintptr_t kAlignment = 64;

}  // namespace

class HugeMapping {
 public:
  static absl::StatusOr<std::shared_ptr<HugeMapping>> Make(uintptr_t size);
  HugeMapping(uintptr_t begin, uintptr_t size) : begin_(begin), size_(size) {}
  ~HugeMapping() { Unmap(begin_, begin_ + size_); }
  HugeMapping(const HugeMapping&) = delete;
  HugeMapping& operator=(const HugeMapping&) = delete;

  std::byte* data() const { return reinterpret_cast<std::byte*>(begin_); }
  uintptr_t size() const { return size_; }

 private:
  const uintptr_t begin_, size_;
};

// Starts on a huge page and ends on a small one, so that no unused page is allocated.
absl::StatusOr<std::shared_ptr<HugeMapping>> HugeMapping::Make(uintptr_t size) {
  size = RoundUp(size, kPage);
  const uintptr_t slack = size >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      /*fd=*/-1, /*offset=*/0);
  if (mapped == MAP_FAILED) {
    return Error(Reason::kOutOfMemory, "no memory for " + std::to_string(size) +
                                           " bytes of weights: " + std::strerror(errno));
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = slack == 0 ? begin : RoundUp(begin, kHugePage);
  Unmap(begin, aligned);
  Unmap(aligned + size, begin + size + slack);
#if defined(MADV_HUGEPAGE)
  // Fails if the system has no huge pages; small pages work as well.
  if (slack != 0) madvise(reinterpret_cast<void*>(aligned), size, MADV_HUGEPAGE);
#endif
  return std::make_shared<HugeMapping>(aligned, size);
}

absl::StatusOr<HugeBuffer> HugeBuffer::Allocate(int64_t bytes) {
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<HugeMapping> mapping,
                        HugeMapping::Make(static_cast<uintptr_t>(bytes)));
  std::byte* const data = mapping->data();
  return HugeBuffer(std::move(mapping), data, bytes);
}

absl::StatusOr<HugeBuffer> HugeArena::Allocate(int64_t bytes) {
  const uintptr_t size = RoundUp(static_cast<uintptr_t>(bytes), kAlignment);
  if (mapping_ == nullptr || mapping_->size() - used_ < size) {
    LFM2_ASSIGN_OR_RETURN(mapping_,
                          HugeMapping::Make(RoundUp(std::max(size, kArenaBytes), kHugePage)));
    used_ = 0;
  }
  HugeBuffer buffer(mapping_, mapping_->data() + used_, bytes);
  used_ += size;
  return buffer;
}

}  // namespace lfm2
