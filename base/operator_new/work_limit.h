// Limits the time and memory of one piece of work inside a library. Some libraries cannot be
// interrupted, and hostile input may cost them minutes and gigabytes; but they allocate
// continually. So past a limit one of their allocations fails, and they unwind as when memory is
// short.
//
// Every program that links this folder gets its operator new and delete from here instead of from
// the C++ library, so that an allocation can be made to fail. It has its own folder for that
// reason, and tests/lint/includes_test.py says who may include it. Outside a WorkLimit they do the
// same as the C++ library's, plus one check of a thread-local variable.
//
// Why the grammar library does not run in a process that can be killed: for a vocabulary of 65,536
// tokens a small schema's compiled grammar is 3 MB, written in 66 ms and read back in 28 (a schema
// of 36 properties: 18 MB, 451 and 206 ms), and each step of matching has a limit as well.
//
// Thread rule: limits the thread that made it, one limit at a time. Work that does not allocate is
// not limited.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lfm2 {

class WorkLimit {
 public:
  enum class Broken { kNone, kTime, kBytes };

  // `time`: CPU time, so that work does not fail because the machine is busy. `bytes`: allocated
  // and not freed.
  WorkLimit(std::chrono::milliseconds time, int64_t bytes);
  ~WorkLimit();
  WorkLimit(const WorkLimit&) = delete;
  WorkLimit& operator=(const WorkLimit&) = delete;

  Broken broken() const { return broken_; }

  // Sets the library (from dlopen) whose allocations may fail. Call once, before the first limit.
  static void Watch(void* library);

  // Called by operator new and delete.
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
