#include "server/engine/parity_task.h"

#include <algorithm>

#include "base/status_macros.h"

namespace lfm2 {

absl::StatusOr<bool> ParityTask::Advance(ModelRunner& runner) {
  if (pass_ == nullptr) {
    LFM2_ASSIGN_OR_RETURN(pass_, runner.StartProbe());
  }
  const size_t rows = std::min(static_cast<size_t>(chunk_tokens_), tokens_.size() - done_);
  LFM2_RETURN_IF_ERROR(pass_->Advance(std::span(tokens_).subspan(done_, rows), report_));
  done_ += rows;
  if (done_ < tokens_.size()) return true;
  pass_.reset();
  return false;
}

}  // namespace lfm2
