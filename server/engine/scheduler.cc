#include "server/engine/scheduler.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace lfm2 {
namespace {

using Callers = std::map<std::string_view, std::vector<size_t>>;

class Planner {
 public:
  Planner(std::span<const ScheduledSequence> sequences, const StepLimits& limits, FairShare& share)
      : sequences_(sequences), limits_(limits), share_(share), tokens_(sequences.size(), 0) {
    limits_.step_tokens = std::max<int64_t>(limits.step_tokens, 1);
    limits_.running_sequences = std::max<int64_t>(limits.running_sequences, 1);
  }

  std::vector<LaneStep> Plan() {
    TakeDecoding();
    GrantPlaces();
    TakeOneAlone();
    for (const bool yielding : {false, true}) DealTokens(yielding);
    AddPromptChunks();
    DealDrafts();
    ForgetAbsentCallers();
    return std::move(steps_);
  }

 private:
  bool HoldsPlace(size_t i) const { return sequences_[i].decoding || sequences_[i].started; }
  bool Yields(size_t i) const {
    return sequences_[i].priority == Priority::kLow && sequences_[i].waited_ms < limits_.ageing_ms;
  }
  int64_t Urgency(size_t i) const {
    return sequences_[i].waited_ms +
           static_cast<int64_t>(sequences_[i].priority) * limits_.ageing_ms;
  }
  // Most urgent first; order of arrival between equals.
  void SortByUrgency(std::vector<size_t>& indices) const {
    std::stable_sort(indices.begin(), indices.end(), [this](size_t a, size_t b) {
      return std::tuple(Yields(a), -Urgency(a)) < std::tuple(Yields(b), -Urgency(b));
    });
  }

  LaneStep& StepOf(const LoadedModel* lane) {
    const auto found = std::find_if(steps_.begin(), steps_.end(),
                                    [&](const LaneStep& s) { return s.lane == lane; });
    return found != steps_.end() ? *found : steps_.emplace_back(LaneStep{lane, {}});
  }

  void TakeDecoding() {
    int64_t decoding = 0;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const ScheduledSequence& s = sequences_[i];
      if (!s.decoding || s.alone || s.resting) continue;
      StepOf(sequences_[i].lane).chunks.push_back({i, 1, 0});
      ++decoding;
    }
    draft_rows_ = limits_.draft_rows - decoding;
    budget_ = std::max<int64_t>(limits_.step_tokens - decoding, 0);
    if (decoding > 0)
      budget_ = std::min(budget_, std::max<int64_t>(limits_.prompt_chunk_tokens, 0));
  }

  // Fills prompts_: every sequence with a prompt that holds a place now.
  void GrantPlaces() {
    int64_t free = std::min(limits_.running_sequences, limits_.step_tokens);
    Callers waiting;
    std::map<std::string_view, int64_t> held;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (!HoldsPlace(i)) {
        if (!sequences_[i].resting) waiting[sequences_[i].caller].push_back(i);
        continue;
      }
      --free;
      const ScheduledSequence& s = sequences_[i];
      ++held[s.caller];
      if (!s.decoding && !s.alone && !s.resting) prompts_.push_back(i);
    }
    if (free <= 0) return;
    for (auto& [caller, indices] : waiting) {
      SortByUrgency(indices);
      std::reverse(indices.begin(), indices.end());  // taken from the back
    }
    while (free > 0 && !waiting.empty()) {
      const auto chosen =
          std::min_element(waiting.begin(), waiting.end(), [&](const auto& a, const auto& b) {
            const auto rank = [&](const auto& entry) {
              return std::tuple(Yields(entry.second.back()), held[entry.first],
                                entry.first < std::string_view(share_.next));
            };
            return rank(a) < rank(b);
          });
      const size_t i = chosen->second.back();
      const ScheduledSequence& next = sequences_[i];
      if (!limits_.memory.HasRoom(next.lane, next.memory)) {
        LeaveOut(next.lane, waiting);
        continue;
      }
      limits_.memory.Hold(next.lane, next.memory);
      prompts_.push_back(i);
      ++held[chosen->first];
      --free;
      chosen->second.pop_back();
      if (chosen->second.empty()) waiting.erase(chosen);
    }
  }

  void LeaveOut(const LoadedModel* lane, Callers& waiting) const {
    for (auto it = waiting.begin(); it != waiting.end();) {
      std::erase_if(it->second, [&](size_t i) { return sequences_[i].lane == lane; });
      it = it->second.empty() ? waiting.erase(it) : std::next(it);
    }
  }

  void TakeOneAlone() {
    for (size_t i = 0; i < sequences_.size() && budget_ > 0; ++i) {
      if (!sequences_[i].alone || sequences_[i].resting) continue;
      const int64_t tokens = std::min(sequences_[i].pending, budget_);
      alone_ = LaneStep{sequences_[i].lane, {{i, tokens, 0}}};
      budget_ -= tokens;
      return;
    }
  }

  // One pass of the round robin over the callers of one kind, while tokens are left.
  void DealTokens(bool yielding) {
    Callers callers;
    for (const size_t i : prompts_) {
      if (Yields(i) == yielding) callers[sequences_[i].caller].push_back(i);
    }
    for (auto& [caller, indices] : callers) SortByUrgency(indices);
    auto turn = callers.lower_bound(share_.next);
    while (budget_ > 0 && !callers.empty()) {
      if (turn == callers.end()) turn = callers.begin();
      int64_t& deficit = share_.deficit[std::string(turn->first)];
      if (deficit <= 0) deficit = std::max<int64_t>(limits_.prompt_chunk_tokens, 1);
      Serve(turn->second, deficit);
      if (turn->second.empty()) {
        share_.deficit.erase(share_.deficit.find(turn->first));
        turn = callers.erase(turn);
      } else if (deficit == 0) {
        ++turn;
      }
      share_.next = turn == callers.end() ? std::string() : std::string(turn->first);
    }
  }

  void Serve(std::vector<size_t>& indices, int64_t& deficit) {
    while (!indices.empty() && budget_ > 0 && deficit > 0) {
      const size_t i = indices.front();
      const int64_t tokens = std::min({sequences_[i].pending - tokens_[i], budget_, deficit});
      if (tokens_[i] == 0) served_.push_back(i);
      tokens_[i] += tokens;
      budget_ -= tokens;
      deficit -= tokens;
      if (tokens_[i] == sequences_[i].pending) indices.erase(indices.begin());
    }
  }

  void AddPromptChunks() {
    for (const size_t i : served_) {
      StepOf(sequences_[i].lane).chunks.push_back({i, tokens_[i], 0});
    }
    if (alone_) steps_.push_back(*std::move(alone_));
  }

  void DealDrafts() {
    int64_t left = limits_.step_tokens;
    std::vector<Chunk*> drafting;
    for (LaneStep& step : steps_) {
      for (Chunk& chunk : step.chunks) {
        const ScheduledSequence& s = sequences_[chunk.sequence];
        left -= chunk.tokens;
        if (s.decoding && !s.alone && s.drafted > 0) drafting.push_back(&chunk);
      }
    }
    left = std::min(left, draft_rows_);
    for (size_t i = 0; i < drafting.size() && left > 0; ++i) {
      const auto sharing = static_cast<int64_t>(drafting.size() - i);
      drafting[i]->drafted =
          std::min(sequences_[drafting[i]->sequence].drafted, (left + sharing - 1) / sharing);
      left -= drafting[i]->drafted;
    }
  }

  void ForgetAbsentCallers() {
    for (auto it = share_.deficit.begin(); it != share_.deficit.end();) {
      const bool present =
          std::any_of(sequences_.begin(), sequences_.end(),
                      [&](const ScheduledSequence& s) { return s.caller == it->first; });
      it = present ? std::next(it) : share_.deficit.erase(it);
    }
  }

  const std::span<const ScheduledSequence> sequences_;
  StepLimits limits_;
  FairShare& share_;
  int64_t budget_ = 0;           // tokens left for prompts
  int64_t draft_rows_ = 0;       // for drafted tokens, if the budget has them
  std::vector<size_t> prompts_;  // sequences that hold a place
  std::vector<size_t> served_;   // in the order in which they were served
  std::vector<int64_t> tokens_;  // prompt tokens of each sequence in this step
  std::optional<LaneStep> alone_;
  std::vector<LaneStep> steps_;
};

}  // namespace

std::vector<LaneStep> PlanStep(std::span<const ScheduledSequence> sequences,
                               const StepLimits& limits, FairShare& share) {
  return Planner(sequences, limits, share).Plan();
}

}  // namespace lfm2
