// Threads for work inside the grammar library. Nothing there can be interrupted, and a hostile
// grammar can take minutes, so nobody waits for it without a limit: a thread that is busy for too
// long is written off and another takes its place, up to a bound; it comes back when it is done.
//
// Thread rule: any thread. Lives until the process ends: a thread that is stuck cannot be joined.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace lfm2 {

class GrammarPool {
 public:
  struct Options {
    int threads = 2;
    int spare = 6;  // more, in the place of those that are stuck
    size_t queue = 4096;
    std::chrono::milliseconds stuck_after{500};
  };
  explicit GrammarPool(const Options& options);
  ~GrammarPool();  // threads end when their work does

  static GrammarPool& Shared();

  // False: the queue is full, or all threads are stuck. Never waits.
  bool Run(std::function<void()> work);

 private:
  struct State;
  static void Work(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;
};

}  // namespace lfm2
