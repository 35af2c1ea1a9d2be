// Which tokens the next step takes. Pure: no clock, no device, no state of its own.
//
// A lane is one loaded model; its step is one batch. Every sequence that decodes takes its next
// token; what is left of the step's token budget goes to prompts in order of arrival, in chunks. So
// a long prompt delays decoding by one chunk, never by the whole prompt, and a short prompt is
// delayed by the prompts before it only. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lfm2 {

struct LoadedModel;

struct StepLimits {
  // of one lane's step; decoding sequences take theirs even when they are more
  int64_t step_tokens = 0;
  int64_t running_sequences = 0;  // of all lanes: the oldest ones hold the places
};

struct ScheduledSequence {
  const LoadedModel* lane = nullptr;
  // tokens that have not been through the model: of the prompt, or the one last sampled
  int64_t pending = 0;
  bool decoding = false;
};

struct Chunk {
  size_t sequence = 0;  // index into what was given
  int64_t tokens = 0;   // 1 to pending
};

struct LaneStep {
  const LoadedModel* lane = nullptr;
  std::vector<Chunk> chunks;  // decoding ones first, then prompts; each in order of arrival
};

// `sequences` in order of arrival. One LaneStep for each lane that has something to do, in order of
// its oldest sequence. When there is a sequence there is a chunk: limits below 1 count as 1.
std::vector<LaneStep> PlanStep(std::span<const ScheduledSequence> sequences,
                               const StepLimits& limits);

}  // namespace lfm2
