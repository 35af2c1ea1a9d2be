// Ctrl-C (SIGINT) and SIGTERM: they cancel the running call, and the program then exits with 130.
//
// Signals are blocked in every thread and received by one thread with sigwait, so cancelling runs
// in ordinary code. While nothing is registered, the first signal ends the process at once;
// otherwise the second one does. Thread rule: any thread.
#pragma once

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>

namespace lfm2 {

class Interrupts {
 public:
  // Registers work that a signal must not interrupt; with a context, a call that a signal cancels.
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
  // *this must then never be destroyed.
  void CatchSignals();
  // Called by the thread at a signal. True when the process should end now.
  bool Raise();
  bool raised() const;
  // False when a signal arrived before the time was over.
  bool SleepFor(int64_t ms);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool raised_ = false;
  int scopes_ = 0;
  std::set<grpc::ClientContext*> contexts_;
};

}  // namespace lfm2
