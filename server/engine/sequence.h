// All state of one generation. Only this class decides when it is finished.
//
// The texts of all events and of the end, concatenated, are the decoded generated tokens, cut
// before the stop string. A token that ends the generation by its id (eos, stop id) is counted and
// reported with empty text. Thread rule: the engine's thread. Ownership: shares the sink and the
// model; owns its runner state.
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
  // speculative_tokens: the most drafted tokens in a step, if the request is greedy and without a
  // grammar and the model's runner verifies drafts; 0: no drafts.
  Sequence(GenerateRequest request, std::shared_ptr<TokenSink> sink, SteadyTime arrived,
           int64_t speculative_tokens = 0);

  // OK, or why it must end before the next step: kDeadlineInQueue, kDeadlineInDecode (metadata
  // "tokens": generated so far), or an error of its sink or its grammar.
  absl::Status Check(SteadyTime now) const;
  // Takes a state from the runner, before the first step. Tokens in the prefix cache are then no
  // longer pending.
  absl::Status Start(SteadyTime now);
  // After a failed step the state is unspecified and must not be retired.
  void DropState() { state_.reset(); }
  // After a failed batch: takes a fresh, empty state; all tokens are pending again. The sequence
  // runs alone until its next token. Must not be called if it has been restarted too often.
  absl::Status Restart();
  bool can_restart() const { return restarts_ < kMostRestarts; }
  // Drafts tokens to check after the pending one in the next step; returns their number.
  int64_t Draft();
  // The next `tokens` pending tokens, with the first `drafted` tokens of the last Draft. Valid
  // until Accept or Advance.
  StepItem NextItem(int64_t tokens, int64_t drafted = 0);
  // A chunk of the prompt has been run through the model.
  void Advance(int64_t tokens) { processed_ += tokens; }
  // The drafted tokens have been checked, and the first `right` ones were correct. Call it before
  // Accept.
  void NoteChecked(int64_t right);
  // Takes the token that was sampled after all pending tokens; then, one call each, the tokens
  // sampled after each correct drafted token.
  TokenEvent Accept(const Sample& sample, SteadyTime now);
  // Gives the state to the runner, which may keep it for the tenant's next request; destroys it if
  // the request did not want the cache.
  void GiveStateBack();
  // Returns how it ended, with the text that was held back. `status` must be OK if finished(). The
  // last call.
  GenerateEnd End(absl::Status status, SteadyTime now);

  bool started() const { return started_at_.has_value(); }
  bool decoding() const { return completion_tokens_ > 0 && pending() == 1; }
  bool alone() const { return alone_; }
  bool finished() const {
    return finish_reason_.has_value() || (constraint_ && constraint_->finished());
  }
  // Waits until the grammar, if there is one, has computed which tokens it allows next. False if
  // that takes longer than `until`: the sequence then sits this step out.
  bool ReadyBy(std::chrono::steady_clock::time_point until) const;
  int64_t pending() const { return static_cast<int64_t>(tokens_.size()) - processed_; }
  int64_t completion_tokens() const { return completion_tokens_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t memory() const { return memory_; }  // maximum for its state
  // kContextExceeded if it needs more memory than the runner has, so that it can never run.
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

  GenerateRequest request_;  // its prompt has been moved to tokens_
  std::shared_ptr<TokenSink> sink_;
  std::set<int32_t> eos_ids_;
  std::vector<int32_t> tokens_;  // prompt, then what was generated
  int64_t prompt_tokens_;
  int64_t memory_ = 0;
  int64_t processed_ = 0;  // of tokens_: run through the model or reused from the cache
  int64_t completion_tokens_ = 0;
  StreamDecoder decoder_;
  ToolCallCollector calls_;
  StopMatcher stops_;
  std::unique_ptr<Constraint> constraint_;  // null: any token is allowed
  std::unique_ptr<Drafter> drafter_;        // null: never drafts
  std::vector<int32_t> draft_;              // for the next or the current step
  bool first_of_step_ = true;               // next token is the step's first: needs no draft
  int64_t drafted_tokens_ = 0, accepted_tokens_ = 0;
  std::optional<FinishReason> finish_reason_;
  PrefixReuse reuse_;
  SteadyTime arrived_;
  std::optional<SteadyTime> started_at_, first_token_at_, last_token_at_;
  bool alone_ = false;
  int restarts_ = 0;
  std::unique_ptr<RunnerState> state_;  // after request_: is destroyed before the model
};

}  // namespace lfm2
