// Memory for the states of sequences and tasks. It is promised before they begin, so that they
// never end early because memory runs out. In the unit of each lane's ModelRunner. Thread rule: one
// thread at a time.
#pragma once

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

struct LoadedModel;

// kContextExceeded if a state of `tokens` tokens, which needs up to `memory`, exceeds the runner's
// limit for all states.
absl::Status CheckStateMemory(const ModelRunner& runner, int64_t tokens, int64_t memory);

class StateMemory {
 public:
  // A lane without a call of SetLimit has no limit.
  void SetLimit(const LoadedModel* lane, int64_t limit) { lanes_[lane].limit = limit; }
  void Hold(const LoadedModel* lane, int64_t memory);
  bool HasRoom(const LoadedModel* lane, int64_t memory) const;

 private:
  struct Lane {
    int64_t limit = std::numeric_limits<int64_t>::max();
    int64_t held = 0;
  };
  std::map<const LoadedModel*, Lane> lanes_;
};

}  // namespace lfm2
