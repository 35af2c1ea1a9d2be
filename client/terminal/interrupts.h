// Ctrl-C (SIGINT) and SIGTERM: what is under way is cancelled, the program then ends with 130.
//
// Signals are blocked in every thread and taken by one thread with sigwait, so cancelling runs in
// ordinary code. While nothing is registered there is nothing to undo, and the first signal ends
// the process at once; so does a second one. Thread rule: any thread.
#pragma once

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>

namespace lfm2 {

class Interrupts {
 public:
  // Something that a signal must not cut short; with a context, one that a signal cancels.
  class Scope {
   public:
    explicit Scope(Interrupts& interrupts, grpc::ClientContext* context = nullptr);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupts& interrupts_;
    grpc::ClientContext* const context_;
  };

  // Blocks the signals and starts the thread that waits for them. Once, before any other thread;
  // *this then lives for ever.
  void CatchSignals();
  // What the thread does at a signal. True when the process should end now.
  bool Raise();
  bool raised() const;
  // False when a signal came before the time was over.
  bool SleepFor(int64_t ms);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool raised_ = false;
  int scopes_ = 0;
  std::set<grpc::ClientContext*> contexts_;
};

}  // namespace lfm2
