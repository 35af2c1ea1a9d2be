// Which tokens the next step takes. Pure: no clock, no device; what it must remember from one step
// to the next (FairShare) is the caller's.
//
// A step is one batch for each loaded model (lane) that has something to do. Every sequence that
// decodes takes its next token. What is left of the budget goes to prompts, in chunks; while
// anything decodes, all prompts of a step together take at most one chunk, so a decoding sequence
// never waits for more than that. No more sequences hold a place than the budget has tokens, so a
// prompt that holds one moves on at every step that has room for prompts at all. A place is given
// only where the lane's memory has room for all that the sequence may come to, so that what runs
// can run to its end; who is next in line and has no room is not passed by others of its lane.
// Drafted tokens
// take what is left then, dealt evenly, and only as long as few sequences decode: a step of many
// rows costs as much for a row more as the token that it may save.
//
// Between callers: a free place goes to the caller that holds the fewest; prompt tokens are dealt
// by deficit round robin with a quantum of one chunk. Within a caller: the most urgent first, that
// is, time waited plus `ageing_ms` a level of priority, so a request passes later ones of the next
// higher level once it has waited `ageing_ms` longer, and equals go in order of arrival. A high
// priority moves a request before its caller's own only. A low one also yields to every other
// caller until it has waited `ageing_ms`. Thread rule: pure functions.
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
  int64_t step_tokens = 0;          // of one step over all lanes
  int64_t running_sequences = 0;    // places, over all lanes
  int64_t prompt_chunk_tokens = 0;  // of a step in which anything decodes; 0: no prompt then
  int64_t ageing_ms = 0;
  int64_t draft_rows = 0;  // decoding and drafted tokens of a step that has drafted ones
  StateMemory memory;      // with what is held already
};

struct ScheduledSequence {
  const LoadedModel* lane = nullptr;
  int64_t pending = 0;    // tokens that have not been through the model: 1 when it decodes
  int64_t drafted = 0;    // that it wants checked beside the pending one, when it decodes
  bool decoding = false;  // holds a place
  bool started = false;   // holds a place
  // Runs in a batch of its own, one such sequence a step: its last batch failed.
  bool alone = false;
  bool resting = false;  // takes nothing in this step; keeps its place when it has one
  std::string_view caller;
  Priority priority = Priority::kNormal;
  int64_t waited_ms = 0;  // since it arrived
  int64_t memory = 0;     // that its state may come to; of no account once it holds a place
};

struct Chunk {
  size_t sequence = 0;  // index into what was given
  int64_t tokens = 0;   // 1 to pending
  int64_t drafted = 0;  // beside them, up to what is wanted
};

struct LaneStep {
  const LoadedModel* lane = nullptr;
  std::vector<Chunk> chunks;  // decoding ones first, then prompts
};

// What the deficit round robin remembers: bounded by the callers that have a prompt.
struct FairShare {
  std::map<std::string, int64_t, std::less<>> deficit;  // tokens that are still its turn's
  std::string next;                                     // whose turn it is, or would be
};

// `sequences` in order of arrival. Every chunk is in exactly one LaneStep, no LaneStep is empty,
// and a sequence has at most one chunk. Limits below 1 count as 1, but for prompt_chunk_tokens.
std::vector<LaneStep> PlanStep(std::span<const ScheduledSequence> sequences,
                               const StepLimits& limits, FairShare& share);

}  // namespace lfm2
