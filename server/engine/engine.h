// The serving engine: one thread owns the device. Requests come in through one bounded queue, token
// events leave through each request's sink. Loop: take what is new, drop what is cancelled or late,
// schedule, step, emit.
//
// Thread rule: any thread, but for Stop. Ownership: shares each sink until its OnEnd.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/limits.h"
#include "server/engine/request.h"

namespace lfm2 {

class EngineLoop;
class Metrics;

struct EngineStats {
  int64_t steps = 0;
  int64_t waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t running = 0;
  int64_t finished = 0;
  int64_t tokens_generated = 0;
  bool gpu_lost = false;  // a request or a self-test ended with kGpuFault: see SetGpuLost
};

// What a watchdog looks at.
struct EngineProgress {
  int64_t beats = 0;   // calls of a runner, and iterations, that came to their end
  int64_t within = 0;  // moves while a long call of a runner makes progress
  bool busy = false;   // something is accepted and not ended
  SteadyTime since;    // of the last beat, or of the moment that work came
};

class Engine {
 public:
  Engine(const Limits& limits, Clock& clock);
  ~Engine();  // Stop()

  // Whether one more request of this caller would be taken now: before the work of making it.
  absl::Status CheckRoom(std::string_view tenant);
  // kQueueFull and kTooManyRequests with a retry delay, kDraining. On an error the sink is not
  // called at all.
  absl::Status Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink);
  absl::Status Submit(ModelTask task);

  // Refuses new work from now on; what was accepted goes on. True when all ended within the time.
  bool Drain(std::chrono::milliseconds timeout);
  // Ends every sequence with kDraining and joins the thread. Not from a sink or a task.
  void Stop();
  // Only a new process helps: the stats say so from now on. From any thread, a task's too.
  void SetGpuLost();
  EngineStats stats() const;
  EngineProgress progress() const;
  Metrics& metrics();

 private:
  const int64_t speculative_tokens_;
  std::unique_ptr<EngineLoop> loop_;
};

}  // namespace lfm2
