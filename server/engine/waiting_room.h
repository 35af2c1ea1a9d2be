// Limits the requests that wait for the engine, and their prompt tokens, in total and per caller. A
// refusal says when to retry. Callers are identified by their bearer token; without tokens all are
// one caller (""), to which the limits per caller do not apply. Thread rule: the owner's lock.
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

  // What Enter would return; to call before preparing the request, with 0 tokens if they are not
  // known yet. kQueueFull, kTooManyRequests, both with a retry delay. A caller's only waiting
  // request may have any number of tokens.
  absl::Status Check(std::string_view tenant, int64_t tokens) const;
  absl::Status Enter(std::string_view tenant, int64_t tokens);
  // A request starts or is dropped.
  void Leave(std::string_view tenant, int64_t tokens, SteadyTime now);

  int64_t requests() const { return all_.requests; }
  int64_t tokens() const { return all_.tokens; }

 private:
  struct Share {
    int64_t requests = 0, tokens = 0;
  };
  // Estimated time until `requests` waiting requests have left, at the rate of the last ones.
  int64_t RetryMs(int64_t requests) const;

  const Limits limits_;
  Share all_;
  std::map<std::string, Share, std::less<>> callers_;  // callers with waiting requests
  SteadyTime last_left_;
  double ms_between_leaves_ = 0;  // smoothed
};

}  // namespace lfm2
