#include "base/byte_budget.h"

#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr int64_t kRetryMs = 2000;

}  // namespace

bool ByteBudget::Take(int64_t bytes) {
  MutexLock lock(mutex_);
  if (bytes > limit_ - used_) return false;
  used_ += bytes;
  return true;
}

void ByteBudget::GiveBack(int64_t bytes) {
  MutexLock lock(mutex_);
  used_ -= bytes;
}

int64_t ByteBudget::used() const {
  MutexLock lock(mutex_);
  return used_;
}

absl::Status ByteBudget::Lease::Grow(std::string_view what, int64_t bytes) {
  if (budget_.Take(bytes)) {
    bytes_ += bytes;
    return absl::OkStatus();
  }
  const std::string limit = std::to_string(budget_.limit_);
  const std::string text =
      std::string(what) + " needs " + std::to_string(bytes_ + bytes) + " bytes; ";
  if (bytes_ + bytes > budget_.limit_) {
    return Error(Reason::kOutOfMemory, text + "the limit is " + limit);
  }
  return RetryLater(Reason::kOutOfMemory,
                    text + "other calls hold too much of the " + limit + " bytes that all share",
                    kRetryMs);
}

void ByteBudget::Lease::ShrinkTo(int64_t bytes) {
  if (bytes >= bytes_) return;
  budget_.GiveBack(bytes_ - bytes);
  bytes_ = bytes;
}

}  // namespace lfm2
