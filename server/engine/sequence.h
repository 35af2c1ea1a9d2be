// All state of one generation, and the one place that decides that it is finished.
//
// The text of the events and of the end, one after the other, is the decoding of the generated
// tokens, cut before the stop string. A token that ends the generation by its id (eos, stop id) is
// counted and reported with empty text. Thread rule: the engine's thread. Ownership: shares the
// sink and the model; owns what the runner keeps for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "model/tokenizer/stream_decoder.h"
#include "server/engine/drafter.h"
#include "server/engine/grammar/constraint.h"
#include "server/engine/model_runner.h"
#include "server/engine/request.h"
#include "server/engine/stop_matcher.h"
#include "server/engine/tool_call_collector.h"

namespace lfm2 {

class Sequence {
 public:
  // speculative_tokens: drafted ones of a step at most, where the request is greedy, nothing
  // restricts what it may say, and the model's runner verifies drafts; 0: none.
  Sequence(GenerateRequest request, std::shared_ptr<TokenSink> sink, SteadyTime arrived,
           int64_t speculative_tokens = 0);

  // OK, or why it must end before the next step: kDeadlineInQueue, kDeadlineInDecode ("tokens" made
  // so far), what its sink or its grammar says.
  absl::Status Check(SteadyTime now) const;
  // Takes a state from the runner, before the first step. What the prefix cache holds is not
  // pending any more.
  absl::Status Start(SteadyTime now);
  // The state is unspecified after a failed step: it must not be retired.
  void DropState() { state_.reset(); }
  // After a failed batch: a fresh state that has seen nothing; all tokens are pending again. From
  // here to the next token the sequence runs alone. Not when it has been restarted too often.
  absl::Status Restart();
  bool can_restart() const { return restarts_ < kMostRestarts; }
  // How many tokens after the pending one it wants checked in the next step.
  int64_t Draft();
  // The next `tokens` of what is pending, with the first `drafted` of the last Draft: valid until
  // Accept or Advance.
  StepItem NextItem(int64_t tokens, int64_t drafted = 0);
  // A chunk of the prompt has been through the model.
  void Advance(int64_t tokens) { processed_ += tokens; }
  // What was drafted has been checked, and its first `right` tokens were so. Before Accept.
  void NoteChecked(int64_t right);
  // The token that was sampled after everything pending went through the model; then, one by one,
  // those after each drafted token that was right.
  TokenEvent Accept(const Sample& sample, SteadyTime now);
  // To the runner, which may keep it for the tenant's next request; destroys it where the request
  // asked for no cache.
  void GiveStateBack();
  // How it ended, and the text that was held back. `status` is OK when finished(). The last call.
  GenerateEnd End(absl::Status status, SteadyTime now);

  bool started() const { return started_at_.has_value(); }
  bool decoding() const { return completion_tokens_ > 0 && pending() == 1; }
  bool alone() const { return alone_; }
  bool finished() const {
    return finish_reason_.has_value() || (constraint_ && constraint_->finished());
  }
  // The grammar, where there is one, has said what may come next. False after `until`: not in this
  // step.
  bool ReadyBy(std::chrono::steady_clock::time_point until) const;
  int64_t pending() const { return static_cast<int64_t>(tokens_.size()) - processed_; }
  int64_t completion_tokens() const { return completion_tokens_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t memory() const { return memory_; }  // that its state may come to
  // kContextExceeded: it can never run.
  absl::Status CheckMemory() const;
  const std::string& tenant() const { return request_.tenant; }
  Priority priority() const { return request_.priority; }
  const PrefixReuse& reuse() const { return reuse_; }
  int64_t accepted_tokens() const { return accepted_tokens_; }
  SteadyTime arrived() const { return arrived_; }
  std::optional<SteadyTime> last_token_at() const { return last_token_at_; }
  LoadedModel& model() const { return *request_.model; }
  const std::shared_ptr<TokenSink>& sink() const { return sink_; }

 private:
  static constexpr int kMostRestarts = 2;

  int64_t MostTokens() const;
  absl::Status LateError(SteadyTime now) const;
  absl::Status TakeState(bool use_cache);
  bool EndsById(int32_t id);

  GenerateRequest request_;  // its prompt has moved to tokens_
  std::shared_ptr<TokenSink> sink_;
  std::set<int32_t> eos_ids_;
  std::vector<int32_t> tokens_;  // prompt, then what was generated
  int64_t prompt_tokens_;
  int64_t memory_ = 0;
  int64_t processed_ = 0;  // of tokens_: have been through the model, or are read from the cache
  int64_t completion_tokens_ = 0;
  StreamDecoder decoder_;
  ToolCallCollector calls_;
  StopMatcher stops_;
  std::unique_ptr<Constraint> constraint_;  // null: anything may come next
  std::unique_ptr<Drafter> drafter_;        // null: never drafts
  std::vector<int32_t> draft_;              // of the next step, or the one under way
  bool first_of_step_ = true;               // the next token is the one that no draft is needed for
  int64_t drafted_tokens_ = 0, accepted_tokens_ = 0;
  std::optional<FinishReason> finish_reason_;
  PrefixReuse reuse_;
  SteadyTime arrived_;
  std::optional<SteadyTime> started_at_, first_token_at_, last_token_at_;
  bool alone_ = false;
  int restarts_ = 0;
  std::unique_ptr<RunnerState> state_;  // after request_: goes before the model does
};

}  // namespace lfm2
