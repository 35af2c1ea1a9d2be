#include "server/engine/state_memory.h"

#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

// The maximum number of tokens of a state.
int64_t MostTokens(const ModelRunner& runner, int64_t below) {
  int64_t fits = 0;
  while (fits + 1 < below) {
    const int64_t middle = fits + (below - fits) / 2;
    (runner.StateMemory(middle) <= runner.state_memory_limit() ? fits : below) = middle;
  }
  return fits;
}

}  // namespace

absl::Status CheckStateMemory(const ModelRunner& runner, int64_t tokens, int64_t memory) {
  if (memory <= runner.state_memory_limit()) return absl::OkStatus();
  const std::string asked = std::to_string(tokens);
  const std::string limit = std::to_string(MostTokens(runner, tokens));
  return Error(Reason::kContextExceeded,
               "prompt and new tokens together are " + asked +
                   ", but the server has memory for the keys, values and states of only " + limit +
                   " (kv_bytes)",
               {{"tokens", asked}, {"limit", limit}});
}

void StateMemory::Hold(const LoadedModel* lane, int64_t memory) { lanes_[lane].held += memory; }

bool StateMemory::HasRoom(const LoadedModel* lane, int64_t memory) const {
  const auto found = lanes_.find(lane);
  return found == lanes_.end() || memory <= found->second.limit - found->second.held;
}

}  // namespace lfm2
