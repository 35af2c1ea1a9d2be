// A limit on memory that several holders share. Thread rule: any thread; a lease is used by one
// thread at a time. Ownership: the budget outlives its leases.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace lfm2 {

class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  // The bytes that one holder has; its destructor returns them.
  class Lease {
   public:
    explicit Lease(ByteBudget& budget) : budget_(budget) {}
    ~Lease() { ShrinkTo(0); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    // Adds `bytes` to the lease. kOutOfMemory when they do not fit, and the lease is unchanged; the
    // error has a retry delay unless this lease alone would exceed the budget. `what` begins the
    // message: "the report".
    absl::Status Grow(std::string_view what, int64_t bytes);
    void ShrinkTo(int64_t bytes);  // no effect when the lease is smaller
    int64_t bytes() const { return bytes_; }

   private:
    ByteBudget& budget_;
    int64_t bytes_ = 0;
  };

  int64_t used() const LFM2_EXCLUDES(mutex_);

 private:
  bool Take(int64_t bytes) LFM2_EXCLUDES(mutex_);
  void GiveBack(int64_t bytes) LFM2_EXCLUDES(mutex_);

  const int64_t limit_;
  mutable Mutex mutex_;
  int64_t used_ LFM2_GUARDED_BY(mutex_) = 0;
};

}  // namespace lfm2
