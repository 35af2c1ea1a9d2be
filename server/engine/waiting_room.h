// Who may wait for the engine: caps on requests and on prompt tokens, in all and per caller. What
// is refused is told when to come again. Callers are told apart by their token; without tokens all
// are one (""), to whom the caps per caller do not apply. Thread rule: the owner's lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/limits.h"

namespace lfm2 {

class WaitingRoom {
 public:
  explicit WaitingRoom(const Limits& limits) : limits_(limits) {}

  // What Enter would say: before the work of making the request, with 0 tokens when they are not
  // known yet. kQueueFull, kTooManyRequests, both with a retry delay. Who waits alone may have any
  // number of tokens.
  absl::Status Check(std::string_view tenant, int64_t tokens) const;
  absl::Status Enter(std::string_view tenant, int64_t tokens);
  // It starts, or is dropped.
  void Leave(std::string_view tenant, int64_t tokens, SteadyTime now);

  int64_t requests() const { return all_.requests; }
  int64_t tokens() const { return all_.tokens; }

 private:
  struct Share {
    int64_t requests = 0, tokens = 0;
  };
  // Until those that wait now have left, as fast as the last ones did.
  int64_t RetryMs(int64_t requests) const;

  const Limits limits_;
  Share all_;
  std::map<std::string, Share, std::less<>> callers_;  // those that have something here
  SteadyTime last_left_;
  double ms_between_leaves_ = 0;  // smoothed
};

}  // namespace lfm2
