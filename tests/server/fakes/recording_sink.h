// A TokenSink that keeps what it is told and lets a test wait for the end. Thread rule: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/mutex.h"
#include "server/engine/request.h"

namespace lfm2 {

class RecordingSink : public TokenSink {
 public:
  bool Ready() override { return ready; }
  bool OnToken(TokenEvent event) override {
    if (on_token) on_token(event);
    MutexLock lock(mutex_);
    if (end_.has_value()) ++calls_after_end_;
    events_.push_back(std::move(event));
    return static_cast<int64_t>(events_.size()) < refuse_from;
  }
  void OnEnd(GenerateEnd end) override {
    if (on_end) on_end();
    {
      MutexLock lock(mutex_);
      if (end_.has_value()) ++calls_after_end_;
      end_ = std::move(end);
    }
    ended_.NotifyAll();
  }
  absl::Status Stopped() const override {
    return cancel ? Error(Reason::kCancelled, "the caller cancelled") : absl::OkStatus();
  }

  // The end, however long it takes: a test that hangs is ended by its time limit.
  GenerateEnd Wait() {
    MutexLock lock(mutex_);
    while (!end_.has_value()) ended_.Wait(mutex_);
    return *end_;
  }
  bool ended() const {
    MutexLock lock(mutex_);
    return end_.has_value();
  }
  std::vector<TokenEvent> events() const {
    MutexLock lock(mutex_);
    return events_;
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> ids;
    for (const TokenEvent& event : events()) ids.push_back(event.id);
    return ids;
  }
  // Of the events and the end.
  std::string text() {
    const GenerateEnd end = Wait();
    std::string text;
    for (const TokenEvent& event : events()) text += event.text;
    return text + end.text;
  }
  int calls_after_end() const {
    MutexLock lock(mutex_);
    return calls_after_end_;
  }

  // Set before Submit, but for these two.
  std::atomic<bool> cancel{false}, ready{true};
  int64_t refuse_from = INT64_MAX;  // OnToken says no from this event on, counted from 1
  std::function<void(const TokenEvent&)> on_token;
  std::function<void()> on_end;

 private:
  mutable Mutex mutex_;
  CondVar ended_;
  std::vector<TokenEvent> events_ LFM2_GUARDED_BY(mutex_);
  std::optional<GenerateEnd> end_ LFM2_GUARDED_BY(mutex_);
  int calls_after_end_ LFM2_GUARDED_BY(mutex_) = 0;
};

}  // namespace lfm2
