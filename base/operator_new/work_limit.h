// What one piece of work inside a library may cost. Some libraries cannot be interrupted from
// outside, and hostile input takes them minutes and gigabytes; but they allocate all the way: past
// a limit one of their allocations fails, and they unwind as they do when memory is short.
//
// Every program that links this folder gets its operator new and delete from here in place of the
// C++ library's: that is how an allocation is made to fail. It has a folder of its own for that
// reason, and tests/lint/includes_test.py says who may include it. Outside of a WorkLimit they do
// what the C++ library's do, for one look at a variable of the thread.
//
// Why the grammar library is not run in a process that can be killed: for a vocabulary of 65,536
// tokens a small schema's compiled grammar is 3 MB, written in 66 ms and read back in 28 (a schema
// of 36 properties: 18 MB, 451 and 206 ms), and each step of matching has a limit as well.
//
// Thread rule: of the thread that made it, one at a time. Work that allocates nothing is not seen.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lfm2 {

class WorkLimit {
 public:
  enum class Broken { kNone, kTime, kBytes };

  // `time`: of the processor, so that a busy machine makes no work slow. `bytes`: allocated and not
  // freed.
  WorkLimit(std::chrono::milliseconds time, int64_t bytes);
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
