// std::mutex with clang's thread-safety annotations. Ours, because ThreadSanitizer reports packaged
// absl::Mutex falsely and plain std::mutex carries no annotations under libstdc++.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define LFM2_ATTRIBUTE(x) __attribute__((x))
#else
#define LFM2_ATTRIBUTE(x)
#endif
#define LFM2_CAPABILITY(x) LFM2_ATTRIBUTE(capability(x))
#define LFM2_SCOPED_CAPABILITY LFM2_ATTRIBUTE(scoped_lockable)
#define LFM2_GUARDED_BY(x) LFM2_ATTRIBUTE(guarded_by(x))
#define LFM2_REQUIRES(...) LFM2_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define LFM2_EXCLUDES(...) LFM2_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define LFM2_ACQUIRE(...) LFM2_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define LFM2_RELEASE(...) LFM2_ATTRIBUTE(release_capability(__VA_ARGS__))
#define LFM2_NO_ANALYSIS LFM2_ATTRIBUTE(no_thread_safety_analysis)

namespace lfm2 {

class LFM2_CAPABILITY("mutex") Mutex {
 public:
  void Lock() LFM2_ACQUIRE() { mutex_.lock(); }
  void Unlock() LFM2_RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class LFM2_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) LFM2_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() LFM2_RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits release the mutex and take it again; callers loop over their condition.
class CondVar {
 public:
  void Wait(Mutex& mutex) LFM2_REQUIRES(mutex) LFM2_NO_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False when the time passed first.
  bool WaitFor(Mutex& mutex, std::chrono::milliseconds timeout)
      LFM2_REQUIRES(mutex) LFM2_NO_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool notified = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return notified;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace lfm2
