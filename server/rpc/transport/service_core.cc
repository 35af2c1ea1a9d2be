#include "server/rpc/transport/service_core.h"

#include <utility>

#include "base/errors.h"
#include "server/rpc/transport/event_stream.h"

namespace lfm2 {
namespace {

constexpr int64_t kRetryMs = 1000;

absl::Status Full(Reason reason, std::string_view whose, int64_t limit) {
  return RetryLater(reason,
                    std::string(whose) + std::to_string(limit) + " calls open, which is the limit",
                    kRetryMs);
}

}  // namespace

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

absl::Status OpenCalls::TakePlace(std::string_view caller) {
  MutexLock lock(mutex_);
  if (places_ >= limits_.open_calls) {
    return Full(Reason::kQueueFull, "there are ", limits_.open_calls);
  }
  if (!caller.empty()) {
    const auto own = of_caller_.try_emplace(std::string(caller), 0).first;
    if (own->second >= limits_.open_calls_per_caller) {
      return Full(Reason::kTooManyRequests, "this caller has ", limits_.open_calls_per_caller);
    }
    ++own->second;
  }
  ++places_;
  return absl::OkStatus();
}

void OpenCalls::GivePlace(std::string_view caller) {
  MutexLock lock(mutex_);
  --places_;
  const auto own = of_caller_.find(caller);
  if (own != of_caller_.end() && --own->second == 0) of_caller_.erase(own);
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

int64_t OpenCalls::streams() const {
  MutexLock lock(mutex_);
  return static_cast<int64_t>(streams_.size());
}

int64_t OpenCalls::count() const {
  MutexLock lock(mutex_);
  return count_;
}

}  // namespace lfm2
