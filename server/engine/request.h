// What goes into the engine and what comes out, as plain data. A GenerateRequest is valid: nobody
// below checks it again.
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

// Order of admission to the device. A request that waits long enough passes later ones of a higher
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
  std::shared_ptr<const Grammar> grammar;  // what the text must follow; null: anything
  std::chrono::milliseconds grammar_step{kDefaultLimits.grammar_step_ms};
  bool takes_tool_calls = false;  // out of the text, into the end
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
  absl::Status status;  // OK, or why there is no finish reason
  FinishReason finish_reason = FinishReason::kLength;
  std::string text;  // what was held back
  std::string stop;  // the stop string that matched
  std::vector<ToolCall> tool_calls;
  bool malformed_tool_call = false;  // one of them stands in the text as it was written
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  PrefixReuse reuse;
  int64_t drafted_tokens = 0;   // guessed, and checked by the model beside a token
  int64_t accepted_tokens = 0;  // of those: part of the completion
  double queue_ms = 0, prefill_ms = 0, decode_ms = 0, time_to_first_token_ms = 0;
};

// Where one request's events go. Called from the engine's thread only, never under a lock; must not
// block.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // It leaves the queue: what comes too late from here on is late in decode.
  virtual void OnStart() {}
  // False: it has no room for what a step brings; the sequence sits that step out.
  virtual bool Ready() { return true; }
  // False: the reader is gone or too slow; the sequence is dropped before the next step and OnEnd
  // is still called.
  virtual bool OnToken(TokenEvent event) = 0;
  // Exactly once, as the last call.
  virtual void OnEnd(GenerateEnd end) = 0;
  // OK, or why nobody takes the events any more: kCancelled, kSlowReader, a deadline. Looked at
  // before every step.
  virtual absl::Status Stopped() const = 0;
};

// Work on a model that is no generation: Score, Parity, the self-test. In turns between two steps,
// each of which delays decoding as a chunk of a prompt does. All calls are made on the engine's
// thread, and so is the destruction.
struct ModelTask {
  std::shared_ptr<LoadedModel> model;
  std::string tenant;
  Priority priority = Priority::kNormal;  // low: when no prompt waits, or after the ageing time
  int64_t tokens = 0;                     // that go through the model in all
  bool keeps_state = false;               // of these tokens, between its turns
  // One turn; true when it wants another one. It may throw: then it is dropped.
  std::function<bool(ModelRunner&)> run;
  // Called once instead of a further turn: draining, deadline passed, stopped, a fault.
  std::function<void(absl::Status)> dropped;
  std::function<absl::Status()> stopped;  // as TokenSink's, before each turn; empty: never
  SteadyTime deadline = SteadyTime::max();
};

}  // namespace lfm2
