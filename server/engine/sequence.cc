#include "server/engine/sequence.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/engine/state_memory.h"

namespace lfm2 {
namespace {

double Milliseconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::set<int32_t> EosIds(const LoadedModel& model) {
  const std::vector<int32_t> ids = model.EndIds();
  return {ids.begin(), ids.end()};
}

}  // namespace

Sequence::Sequence(GenerateRequest request, std::shared_ptr<TokenSink> sink, SteadyTime arrived,
                   int64_t speculative_tokens)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      tokens_(std::move(request_.prompt)),
      prompt_tokens_(static_cast<int64_t>(tokens_.size())),
      decoder_(*request_.model->tokenizer),
      stops_(std::move(request_.stop)),
      arrived_(arrived) {
  if (!request_.ignore_eos) eos_ids_ = EosIds(*request_.model);
  if (request_.takes_tool_calls) calls_ = ToolCallCollector(*request_.model->tokenizer);
  if (request_.grammar != nullptr) {
    constraint_ = std::make_unique<Constraint>(std::move(request_.grammar), request_.grammar_step);
  }
  const bool greedy = request_.sampling.temperature <= 0 && constraint_ == nullptr;
  if (speculative_tokens > 0 && greedy && request_.model->runner->verifies_drafts()) {
    drafter_ = std::make_unique<Drafter>(speculative_tokens);
  }
  memory_ = request_.model->runner->StateMemory(MostTokens() + (drafter_ ? speculative_tokens : 0));
  if (request_.max_new_tokens <= 0) finish_reason_ = FinishReason::kLength;
}

int64_t Sequence::MostTokens() const {
  return prompt_tokens_ + std::max<int64_t>(request_.max_new_tokens, 0);
}

absl::Status Sequence::CheckMemory() const {
  return CheckStateMemory(*request_.model->runner, MostTokens(), memory_);
}

// Checks the deadline first, because a client gives up at its deadline.
absl::Status Sequence::Check(SteadyTime now) const {
  if (now >= request_.deadline) return LateError(now);
  absl::Status stopped = sink_->Stopped();
  if (absl::IsDeadlineExceeded(stopped)) return LateError(now);
  if (!stopped.ok()) return stopped;
  return constraint_ ? constraint_->Check() : absl::OkStatus();
}

absl::Status Sequence::LateError(SteadyTime now) const {
  const Metadata metadata = {{"tokens", std::to_string(completion_tokens_)}};
  if (!started()) {
    return Error(Reason::kDeadlineInQueue,
                 "the deadline passed after " +
                     std::to_string(static_cast<int64_t>(Milliseconds(arrived_, now))) +
                     " ms in the queue",
                 metadata);
  }
  return Error(Reason::kDeadlineInDecode,
               "the deadline passed after " + std::to_string(completion_tokens_) + " of at most " +
                   std::to_string(request_.max_new_tokens) + " tokens",
               metadata);
}

absl::Status Sequence::TakeState(bool use_cache) {
  LFM2_ASSIGN_OR_RETURN(NewState fresh,
                        request_.model->runner->Start({tokens_, request_.tenant, use_cache}));
  const int64_t resume_at = fresh.reuse.resume_at();
  if (fresh.state == nullptr || resume_at < 0 ||
      resume_at >= static_cast<int64_t>(tokens_.size())) {
    return Error(Reason::kInternal, "the runner returned an unusable state for this request");
  }
  state_ = std::move(fresh.state);
  processed_ = resume_at;
  if (!started()) reuse_ = fresh.reuse;
  return absl::OkStatus();
}

absl::Status Sequence::Start(SteadyTime now) {
  LFM2_RETURN_IF_ERROR(TakeState(request_.use_prefix_cache));
  started_at_ = now;
  tokens_.reserve(static_cast<size_t>(prompt_tokens_ + request_.max_new_tokens));
  return absl::OkStatus();
}

absl::Status Sequence::Restart() {
  ++restarts_;
  alone_ = true;
  state_.reset();
  return TakeState(false);
}

int64_t Sequence::Draft() {
  draft_.clear();
  if (drafter_ == nullptr || !started()) return 0;
  try {
    drafter_->Read(tokens_);
    if (!decoding() || alone_) return 0;
    // The last token of the generation is only sampled and not run through the model.
    draft_ = drafter_->Draft(request_.max_new_tokens - completion_tokens_ - 1);
  } catch (const std::bad_alloc&) {
    drafter_.reset();  // continues without drafts
  }
  return static_cast<int64_t>(draft_.size());
}

StepItem Sequence::NextItem(int64_t tokens, int64_t drafted) {
  draft_.resize(static_cast<size_t>(drafted));
  first_of_step_ = true;
  const std::span<const int32_t> all = tokens_;
  StepItem item;
  item.state = state_.get();
  item.tokens = all.subspan(static_cast<size_t>(processed_), static_cast<size_t>(tokens));
  item.sample = tokens == pending();
  item.sampling = &request_.sampling;
  item.history = all;
  item.index = completion_tokens_;
  if (constraint_) item.allowed = constraint_->allowed();
  item.draft = draft_;
  return item;
}

void Sequence::NoteChecked(int64_t right) {
  if (draft_.empty()) return;
  const auto drafted = static_cast<int64_t>(draft_.size());
  drafter_->Note(drafted, right);
  drafted_tokens_ += drafted;
}

TokenEvent Sequence::Accept(const Sample& sample, SteadyTime now) {
  processed_ = static_cast<int64_t>(tokens_.size());
  if (!std::exchange(first_of_step_, false)) ++accepted_tokens_;
  if (!first_token_at_.has_value()) first_token_at_ = now;
  last_token_at_ = now;
  alone_ = false;
  TokenEvent event;
  event.index = completion_tokens_++;
  event.id = sample.id;
  if (request_.sampling.logprobs >= 0) {
    event.logprob = sample.logprob;
    event.top = sample.top;
  }
  tokens_.push_back(sample.id);
  if (EndsById(sample.id)) return event;
  event.text = stops_.Push(calls_.Push(sample.id, decoder_.Push(sample.id)));
  if (stops_.matched()) {
    finish_reason_ = FinishReason::kStop;
  } else if (completion_tokens_ >= request_.max_new_tokens) {
    finish_reason_ = FinishReason::kLength;
  }
  if (constraint_ && !finish_reason_) constraint_->Push(sample.id);
  return event;
}

bool Sequence::ReadyBy(std::chrono::steady_clock::time_point until) const {
  if (!constraint_) return true;
  return constraint_->WaitUntil(until) && constraint_->Check().ok() && !constraint_->finished();
}

bool Sequence::EndsById(int32_t id) {
  const auto& stop_ids = request_.stop_ids;
  if (eos_ids_.count(id) > 0) {
    finish_reason_ = FinishReason::kEos;
  } else if (std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end()) {
    finish_reason_ = FinishReason::kStop;
  }
  return finished();
}

void Sequence::GiveStateBack() {
  if (state_ == nullptr) return;
  if (!request_.use_prefix_cache) return state_.reset();
  const std::span<const int32_t> seen(tokens_.data(), static_cast<size_t>(processed_));
  request_.model->runner->Retire(std::move(state_), seen, request_.tenant);
}

GenerateEnd Sequence::End(absl::Status status, SteadyTime now) {
  GenerateEnd end;
  if (!finish_reason_ && finished()) finish_reason_ = FinishReason::kEos;
  end.text = stops_.Push(calls_.Flush(decoder_.Flush()));
  end.text += stops_.Flush();
  // At the end, incomplete bytes of a character become U+FFFD, which a stop string may contain.
  if (stops_.matched() && status.ok()) finish_reason_ = FinishReason::kStop;
  end.status = std::move(status);
  end.finish_reason = finish_reason_.value_or(FinishReason::kLength);
  end.stop = stops_.match();
  end.tool_calls = calls_.TakeCalls();
  end.malformed_tool_call = calls_.malformed();
  end.prompt_tokens = prompt_tokens_;
  end.completion_tokens = completion_tokens_;
  end.reuse = reuse_;
  end.drafted_tokens = drafted_tokens_;
  end.accepted_tokens = accepted_tokens_;
  const SteadyTime started = started_at_.value_or(now);
  end.queue_ms = Milliseconds(arrived_, started);
  end.prefill_ms = Milliseconds(started, first_token_at_.value_or(now));
  if (first_token_at_.has_value()) {
    end.decode_ms = Milliseconds(*first_token_at_, now);
    end.time_to_first_token_ms = Milliseconds(arrived_, *first_token_at_);
  }
  return end;
}

}  // namespace lfm2
