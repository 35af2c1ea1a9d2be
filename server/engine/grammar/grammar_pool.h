// Threads for work in the grammar library, which may be slow and cannot be interrupted. Masks of
// running texts and compiles have separate pools, so that masks never wait for compiles. If work
// waits behind a thread that has been busy for too long, that thread is written off: another one
// replaces it, up to a bound, and the old one ends after its work.
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
    int spare = 0;  // additional threads to replace those written off
    size_t queue = 4096;
    std::chrono::milliseconds stuck_after{500};
    int nice = 0;  // added to the threads' nice value
    // Work of one named caller runs one after the other.
    bool one_per_caller = false;
  };
  explicit GrammarPool(const Options& options);
  ~GrammarPool();  // threads end after their work

  static GrammarPool& Masks();
  // The pool for compiles: at most two at once, also if their callers are gone; runs at a lower
  // priority than the engine's threads.
  static GrammarPool& Compiles();

  // False: the queue is full, or there is no thread. Never blocks.
  bool Run(std::function<void()> work, std::string_view caller = "");
  // `work` must be short.
  void After(std::chrono::milliseconds delay, std::function<void()> work);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace lfm2
