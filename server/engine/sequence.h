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
#include <vector>

#include "absl/status/status.h"
#include "model/tokenizer/stream_decoder.h"
#include "server/base/clock.h"
#include "server/engine/model_runner.h"
#include "server/engine/request.h"
#include "server/engine/stop_matcher.h"

namespace lfm2 {

class Sequence {
 public:
  Sequence(GenerateRequest request, std::shared_ptr<TokenSink> sink, SteadyTime arrived);

  // OK, or why it must end before the next step: kCancelled, kDeadlineInQueue, kDeadlineInDecode
  // ("tokens" made so far).
  absl::Status Check(SteadyTime now) const;
  // Takes a state from the runner, before the first step. What the prefix cache holds is not
  // pending any more.
  absl::Status Start(SteadyTime now);
  // The state is unspecified after a failed step: it must not be retired.
  void DropState() { state_.reset(); }
  // The next `tokens` of what is pending: valid until Accept or Advance.
  StepItem NextItem(int64_t tokens) const;
  // A chunk of the prompt has been through the model.
  void Advance(int64_t tokens) { processed_ += tokens; }
  // The token that was sampled after everything pending went through the model.
  TokenEvent Accept(const Sample& sample, SteadyTime now);
  // How it ended, and the text that was held back; gives the state back. `status` is OK when
  // finished(). The last call.
  GenerateEnd End(absl::Status status, SteadyTime now);

  bool started() const { return started_at_.has_value(); }
  bool decoding() const { return completion_tokens_ > 0; }
  bool finished() const { return finish_reason_.has_value(); }
  int64_t pending() const { return static_cast<int64_t>(tokens_.size()) - processed_; }
  int64_t completion_tokens() const { return completion_tokens_; }
  LoadedModel& model() const { return *request_.model; }
  const std::shared_ptr<TokenSink>& sink() const { return sink_; }

 private:
  bool EndsById(int32_t id);
  void GiveStateBack();

  GenerateRequest request_;  // its prompt has moved to tokens_
  std::shared_ptr<TokenSink> sink_;
  std::set<int32_t> eos_ids_;
  std::vector<int32_t> tokens_;  // prompt, then what was generated
  int64_t prompt_tokens_;
  int64_t processed_ = 0;  // of tokens_: have been through the model, or are read from the cache
  int64_t completion_tokens_ = 0;
  StreamDecoder decoder_;
  StopMatcher stops_;
  std::optional<FinishReason> finish_reason_;
  PrefixReuse reuse_;
  SteadyTime arrived_;
  std::optional<SteadyTime> started_at_, first_token_at_;
  std::unique_ptr<RunnerState> state_;  // after request_: goes before the model does
};

}  // namespace lfm2
