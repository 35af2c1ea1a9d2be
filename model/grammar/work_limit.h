// What one piece of work inside the grammar library may cost. The library cannot be interrupted
// from outside and a hostile grammar takes minutes and gigabytes, but it allocates all the way:
// past a limit one of its allocations fails, and it unwinds as it does when memory is short. For
// that the program's operator new is replaced here.
//
// Thread rule: of the thread that made it, one at a time. Work that allocates nothing is not seen.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lfm2 {

// The largest schemas that are of use take 45 MiB to compile, for a vocabulary of 49,152 tokens.
inline constexpr int64_t kGrammarWorkBytes = int64_t{64} << 20;

class WorkLimit {
 public:
  enum class Broken { kNone, kTime, kBytes };

  // `time`: of the processor, so that a busy machine makes no grammar slow. `bytes`: allocated and
  // not freed.
  explicit WorkLimit(std::chrono::milliseconds time, int64_t bytes = kGrammarWorkBytes);
  ~WorkLimit();
  WorkLimit(const WorkLimit&) = delete;
  WorkLimit& operator=(const WorkLimit&) = delete;

  Broken broken() const { return broken_; }

  // The library (from dlopen) whose allocations may fail. Once, before the first limit.
  static void Watch(void* library);

  // Of operator new and delete.
  bool Allows(size_t bytes, const void* caller);
  void Add(size_t bytes) { bytes_ += static_cast<int64_t>(bytes); }
  void Subtract(size_t bytes) { bytes_ -= static_cast<int64_t>(bytes); }

 private:
  const std::chrono::nanoseconds end_;
  const int64_t most_bytes_;
  int64_t bytes_ = 0;
  uint32_t asked_ = 0;
  Broken broken_ = Broken::kNone;
};

}  // namespace lfm2
