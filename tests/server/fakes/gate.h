// Holds the engine's thread inside a step until the test lets it go. Thread rule: any thread.
#pragma once

#include <condition_variable>
#include <mutex>

#include "tests/server/fakes/fake_model_runner.h"

namespace lfm2 {

class Gate {
 public:
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_ || passes_ > 0; });
    if (!open_) --passes_;
  }
  void WaitForArrivals(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  int arrived() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return arrived_;
  }
  void LetOnePass() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++passes_;
    changed_.notify_all();
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0, passes_ = 0;
  bool open_ = false;
};

inline FakeModelScript Gated(Gate& gate) {
  FakeModelScript script;
  script.before_step = [&gate](std::span<const StepItem>) { gate.Pass(); };
  return script;
}

}  // namespace lfm2
