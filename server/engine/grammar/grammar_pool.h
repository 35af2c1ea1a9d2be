// Threads for work inside the grammar library, which may be slow and cannot be interrupted from
// outside. Masks of running texts and compiles have a pool each, so that the first never wait for
// the second. Where work waits behind a thread that has been busy for too long, that thread is
// written off: another takes its place, up to a bound, and it ends when its work does.
//
// Thread rule: any thread. Lives until the process ends: a thread that is stuck cannot be joined.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

namespace lfm2 {

class GrammarPool {
 public:
  struct Options {
    int threads = 2;
    int spare = 0;  // more, in the place of those that are written off
    size_t queue = 4096;
    std::chrono::milliseconds stuck_after{500};
    int nice = 0;  // added to the threads' own
    // A named caller's works run one after the other.
    bool one_per_caller = false;
  };
  explicit GrammarPool(const Options& options);
  ~GrammarPool();  // threads end when their work does

  static GrammarPool& Masks();
  // At most two at once, whatever became of those who asked; behind the engine's threads.
  static GrammarPool& Compiles();

  // False: the queue is full, or there is no thread. Never waits.
  bool Run(std::function<void()> work, std::string_view caller = "");
  // `work` must be short.
  void After(std::chrono::milliseconds delay, std::function<void()> work);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace lfm2
