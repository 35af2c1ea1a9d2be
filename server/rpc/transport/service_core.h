// What all calls of one server share. Ownership: shared by the server and every open call. Thread
// rule: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/byte_budget.h"
#include "base/mutex.h"
#include "server/rpc/transport/auth.h"
#include "server/rpc/transport/service_context.h"
#include "server/rpc/transport/tokenizer_cache.h"

namespace lfm2 {

class EventStream;

// The open calls: their number, so that a shutdown can wait for them, and the streams, so that it
// can end them.
class OpenCalls {
 public:
  explicit OpenCalls(const Limits& limits) : limits_(limits) {}

  void Enter() LFM2_EXCLUDES(mutex_);
  void Leave() LFM2_EXCLUDES(mutex_);
  // Reserves a place for a call that may do work; each TakePlace needs one GivePlace. For caller ""
  // only the limit of all calls applies. kQueueFull, kTooManyRequests.
  absl::Status TakePlace(std::string_view caller) LFM2_EXCLUDES(mutex_);
  void GivePlace(std::string_view caller) LFM2_EXCLUDES(mutex_);
  void Add(const std::shared_ptr<EventStream>& stream) LFM2_EXCLUDES(mutex_);
  void Remove(const EventStream* stream) LFM2_EXCLUDES(mutex_);
  // Calls `visit` without holding the lock.
  void ForEachStream(const std::function<void(EventStream&)>& visit) LFM2_EXCLUDES(mutex_);
  // Waits until no call is open; false after the timeout.
  bool WaitUntilNone(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_);
  int64_t count() const LFM2_EXCLUDES(mutex_);
  int64_t streams() const LFM2_EXCLUDES(mutex_);

 private:
  const Limits limits_;
  mutable Mutex mutex_;
  CondVar changed_;
  int64_t count_ LFM2_GUARDED_BY(mutex_) = 0;
  int64_t places_ LFM2_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t, std::less<>> of_caller_ LFM2_GUARDED_BY(mutex_);  // never 0
  std::unordered_map<const EventStream*, std::weak_ptr<EventStream>> streams_
      LFM2_GUARDED_BY(mutex_);
};

struct ServiceCore {
  ServiceCore(const ServiceContext& service_context, Authenticator authenticator)
      : context(service_context),
        auth(std::move(authenticator)),
        tokenizers(context.models),
        calls(context.limits),
        parity_bytes(context.limits.parity_bytes) {}

  const ServiceContext context;
  const Authenticator auth;
  TokenizerCache tokenizers;
  OpenCalls calls;
  ByteBudget parity_bytes;  // for the reports of open calls
  std::atomic<bool> draining{false};
};

}  // namespace lfm2
