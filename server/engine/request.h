// The engine's input and output as plain data. A GenerateRequest must be valid: the engine does not
// check it again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/limits.h"
#include "model/grammar/grammar.h"
#include "model/sampling/sampler.h"
#include "model/tokenizer/chat/tool_calls.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

// Order of admission. A request that has waited long enough passes later ones with a higher
// priority.
enum class Priority { kLow, kNormal, kHigh };
inline constexpr int kPriorities = 3;

struct GenerateRequest {
  std::string request_id;
  std::string tenant;  // the caller's token name; "" without tokens
  Priority priority = Priority::kNormal;
  bool use_prefix_cache = true;
  std::shared_ptr<LoadedModel> model;
  std::vector<int32_t> prompt;  // at least one token, prompt + max_new_tokens within the context
  SamplingParams sampling;
  int64_t max_new_tokens = 0;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_ids;
  bool ignore_eos = false;
  std::shared_ptr<const Grammar> grammar;  // null: the text is not restricted
  std::chrono::milliseconds grammar_step{kDefaultLimits.grammar_step_ms};
  bool takes_tool_calls = false;  // moves tool calls from the text to GenerateEnd
  SteadyTime deadline = SteadyTime::max();
};

struct TokenEvent {
  int64_t index = 0;
  int32_t id = 0;
  std::string text;  // complete UTF-8, may be empty; what may become a stop string is held back
  std::optional<float> logprob;
  std::vector<TokenLogprob> top;
};

enum class FinishReason { kEos, kStop, kLength };

struct GenerateEnd {
  absl::Status status;  // if not OK, finish_reason is not valid
  FinishReason finish_reason = FinishReason::kLength;
  std::string text;  // text that was held back
  std::string stop;  // the stop string that matched
  std::vector<ToolCall> tool_calls;
  bool malformed_tool_call = false;  // a malformed one was left in the text
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  PrefixReuse reuse;
  int64_t drafted_tokens = 0;   // drafted tokens that the model checked
  int64_t accepted_tokens = 0;  // of those: part of the completion
  double queue_ms = 0, prefill_ms = 0, decode_ms = 0, time_to_first_token_ms = 0;
};

// Receives one request's events. Called only from the engine's thread, never with a lock held; must
// not block.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // The request leaves the queue: from now on, a missed deadline counts as missed in decode.
  virtual void OnStart() {}
  // False: the sink cannot take the events of a step now; the sequence sits that step out.
  virtual bool Ready() { return true; }
  // False: the reader is gone or too slow; the sequence is dropped before the next step and OnEnd
  // is still called.
  virtual bool OnToken(TokenEvent event) = 0;
  // Exactly once, as the last call.
  virtual void OnEnd(GenerateEnd end) = 0;
  // OK, or why the events are no longer wanted: kCancelled, kSlowReader, a deadline. Called before
  // every step.
  virtual absl::Status Stopped() const = 0;
};

// Work on a model other than generation: Score, Parity, the self-test. It runs in turns between
// steps; a turn delays decoding as much as a chunk of a prompt. All calls and the destruction
// happen on the engine's thread.
struct ModelTask {
  std::shared_ptr<LoadedModel> model;
  std::string tenant;
  Priority priority = Priority::kNormal;  // low: only if no prompt waits, or after the ageing time
  int64_t tokens = 0;                     // run through the model in total
  bool keeps_state = false;               // keeps a state of these tokens between turns
  // Runs one turn; true if it needs another one. If it throws, the task is dropped.
  std::function<bool(ModelRunner&)> run;
  // Called once instead of another turn: draining, deadline passed, stopped, a fault.
  std::function<void(absl::Status)> dropped;
  std::function<absl::Status()> stopped;  // as in TokenSink, before each turn; empty: never
  SteadyTime deadline = SteadyTime::max();
};

}  // namespace lfm2
