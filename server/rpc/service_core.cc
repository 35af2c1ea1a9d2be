#include "server/rpc/service_core.h"

#include "server/rpc/event_stream.h"

namespace lfm2 {

void OpenCalls::Enter() {
  MutexLock lock(mutex_);
  ++count_;
}

void OpenCalls::Leave() {
  {
    MutexLock lock(mutex_);
    --count_;
  }
  changed_.NotifyAll();
}

void OpenCalls::Add(const std::shared_ptr<EventStream>& stream) {
  MutexLock lock(mutex_);
  streams_.emplace(stream.get(), stream);
}

void OpenCalls::Remove(const EventStream* stream) {
  MutexLock lock(mutex_);
  streams_.erase(stream);
}

void OpenCalls::ForEachStream(const std::function<void(EventStream&)>& visit) {
  std::vector<std::shared_ptr<EventStream>> open;
  {
    MutexLock lock(mutex_);
    open.reserve(streams_.size());
    for (const auto& [pointer, weak] : streams_) {
      if (auto stream = weak.lock()) open.push_back(std::move(stream));
    }
  }
  for (const auto& stream : open) visit(*stream);
}

bool OpenCalls::WaitUntilNone(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  while (count_ > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    changed_.WaitFor(mutex_, left);
  }
  return true;
}

int64_t OpenCalls::count() const {
  MutexLock lock(mutex_);
  return count_;
}

}  // namespace lfm2
