#include "server/engine/score_task.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {

absl::StatusOr<bool> ScoreTask::Advance(ModelRunner& runner) {
  const std::span<const int32_t> all = tokens_;
  if (state_ == nullptr) {
    LFM2_ASSIGN_OR_RETURN(NewState fresh, runner.Start({all, {}, false}));
    if (fresh.reuse.resume_at() != 0) {
      return Error(Reason::kInternal, "the model gave a state that is not empty");
    }
    state_ = std::move(fresh.state);
  }
  const size_t begin = logprobs_.size();
  const size_t inputs = std::min(static_cast<size_t>(chunk_tokens_), all.size() - 1 - begin);
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> chunk,
                        runner.ScoreChunk(*state_, all.subspan(begin, inputs + 1)));
  if (chunk.size() != inputs) {
    return Error(Reason::kInternal,
                 "the model scored a different number of tokens than it was given");
  }
  logprobs_.insert(logprobs_.end(), chunk.begin(), chunk.end());
  return logprobs_.size() + 1 < all.size();
}

}  // namespace lfm2
