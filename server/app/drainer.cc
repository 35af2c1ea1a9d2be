#include "server/app/drainer.h"

#include <algorithm>
#include <thread>

namespace lfm2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{100};  // between checks for EndNow

}  // namespace

void Drainer::Wait(milliseconds timeout) {
  const auto until = steady_clock::now() + timeout;
  std::thread jobs([&] {
    if (jobs_ != nullptr) jobs_->Shutdown(timeout);
  });
  while (!engine_.Drain(std::min(kLook, timeout)) && !end_now_ && steady_clock::now() < until) {
  }
  engine_.Stop();
  jobs.join();
}

void Drainer::EndNow() {
  end_now_ = true;
  if (jobs_ != nullptr) jobs_->Shutdown(milliseconds(0));
}

}  // namespace lfm2
