#include "client/terminal/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "client/terminal/failure.h"

namespace lfm2 {

Interrupts::Scope::Scope(Interrupts& interrupts, grpc::ClientContext* context)
    : interrupts_(interrupts), context_(context) {
  const std::lock_guard lock(interrupts_.mutex_);
  ++interrupts_.scopes_;
  if (context_ == nullptr) return;
  interrupts_.contexts_.insert(context_);
  if (interrupts_.raised_) context_->TryCancel();
}

Interrupts::Scope::~Scope() {
  const std::lock_guard lock(interrupts_.mutex_);
  --interrupts_.scopes_;
  interrupts_.contexts_.erase(context_);
}

void Interrupts::CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([this, signals] {
    int signal = 0;
    while (sigwait(&signals, &signal) == 0) {
      if (Raise()) _exit(kExitInterrupted);
    }
  }).detach();
}

bool Interrupts::Raise() {
  const std::lock_guard lock(mutex_);
  if (raised_ || scopes_ == 0) return true;
  raised_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
  changed_.notify_all();
  return false;
}

bool Interrupts::raised() const {
  const std::lock_guard lock(mutex_);
  return raised_;
}

bool Interrupts::SleepFor(int64_t ms) {
  const Scope scope(*this);
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return raised_; });
}

}  // namespace lfm2
