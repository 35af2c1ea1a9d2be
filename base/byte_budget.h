// A bound on memory that several hold together. Thread rule: any thread; a lease is used by one at
// a time. Ownership: the budget outlives its leases.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace lfm2 {

class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  // What one of them holds: given back when it goes.
  class Lease {
   public:
    explicit Lease(ByteBudget& budget) : budget_(budget) {}
    ~Lease() { ShrinkTo(0); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    // Takes so many more. kOutOfMemory, and nothing is taken: with a retry delay, unless the lease
    // would be larger than the budget by itself. `what` begins the message: "the report".
    absl::Status Grow(std::string_view what, int64_t bytes);
    void ShrinkTo(int64_t bytes);  // no effect when it holds less
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
