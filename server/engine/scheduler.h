// Chooses the tokens of the next step. Pure: no clock, no device; the caller keeps the data that is
// needed from step to step (FairShare).
//
// A step is one batch for each loaded model (lane) with work. Every decoding sequence takes its
// next token. The rest of the budget goes to prompts, in chunks. While any sequence decodes, all
// prompts of a step together take at most one chunk, so that a decoding sequence never waits longer
// than that. The number of places is at most the number of tokens in the budget, so a prompt with a
// place advances in every step that has room for prompts. A sequence gets a place only if the lane
// has memory for its maximum length, so that it can run to its end; if the next sequence in line
// does not fit, others of its lane do not pass it. Drafted tokens take what is then left, shared
// evenly, and only while few sequences decode: in a step with many rows, one more row costs as much
// as the token that it may save.
//
// Between callers: a free place goes to the caller that holds the fewest; prompt tokens are shared
// by deficit round robin with a quantum of one chunk. Within a caller: the most urgent request
// first. Urgency is the time waited plus `ageing_ms` per level of priority, so a request passes
// later ones of the next higher level once it has waited `ageing_ms` longer; equally urgent ones go
// in order of arrival. A high priority only moves a request before others of the same caller. A low
// one also yields to every other caller until it has waited `ageing_ms`. Thread rule: pure
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/request.h"
#include "server/engine/state_memory.h"

namespace lfm2 {

struct StepLimits {
  int64_t step_tokens = 0;          // budget of one step, for all lanes
  int64_t running_sequences = 0;    // places, for all lanes
  int64_t prompt_chunk_tokens = 0;  // in a step with decoding sequences; 0: no prompts then
  int64_t ageing_ms = 0;
  int64_t draft_rows = 0;  // decoding plus drafted tokens of a step with drafts
  StateMemory memory;      // includes the memory that is already held
};

struct ScheduledSequence {
  const LoadedModel* lane = nullptr;
  int64_t pending = 0;    // tokens not yet run through the model; 1 if it decodes
  int64_t drafted = 0;    // drafted tokens to check beside the pending one, if it decodes
  bool decoding = false;  // holds a place
  bool started = false;   // holds a place
  // Its last batch failed: runs in a batch of its own, one such sequence per step.
  bool alone = false;
  bool resting = false;  // gets no tokens in this step; keeps its place if it has one
  std::string_view caller;
  Priority priority = Priority::kNormal;
  int64_t waited_ms = 0;  // since it arrived
  int64_t memory = 0;     // maximum for its state; ignored once it holds a place
};

struct Chunk {
  size_t sequence = 0;  // index into PlanStep's `sequences`
  int64_t tokens = 0;   // 1 to pending
  int64_t drafted = 0;  // beside them, at most the number wanted
};

struct LaneStep {
  const LoadedModel* lane = nullptr;
  std::vector<Chunk> chunks;  // decoding ones first, then prompts
};

// The state of the deficit round robin; holds only callers that have a prompt.
struct FairShare {
  std::map<std::string, int64_t, std::less<>> deficit;  // tokens left in its turn
  std::string next;                                     // the caller whose turn is next
};

// `sequences` in order of arrival. Every chunk is in exactly one LaneStep, no LaneStep is empty,
// and a sequence has at most one chunk. Limits below 1 count as 1, except prompt_chunk_tokens.
std::vector<LaneStep> PlanStep(std::span<const ScheduledSequence> sequences,
                               const StepLimits& limits, FairShare& share);

}  // namespace lfm2
