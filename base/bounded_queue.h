// A bounded queue between threads: TryPush refuses when the queue is full or closed, Pop waits.
// Thread rule: any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "base/mutex.h"

namespace lfm2 {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Moves from `item` only when it returns true.
  bool TryPush(T& item) LFM2_EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
    }
    ready_.NotifyOne();
    return true;
  }

  // Waits for an item. nullopt when the queue is closed and empty, or the time has passed.
  std::optional<T> Pop(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (items_.empty() && !closed_) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !ready_.WaitFor(mutex_, left)) break;
    }
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  // Refuses every later push; queued items can still be popped.
  void Close() LFM2_EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    ready_.NotifyAll();
  }

  bool closed() const LFM2_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return closed_;
  }
  size_t size() const LFM2_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return items_.size();
  }

 private:
  const size_t capacity_;
  mutable Mutex mutex_;
  CondVar ready_;
  std::deque<T> items_ LFM2_GUARDED_BY(mutex_);
  bool closed_ LFM2_GUARDED_BY(mutex_) = false;
};

}  // namespace lfm2
