#include "server/engine/model_runner.h"

#include <algorithm>

#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr size_t kScoreTokens = 256;

}  // namespace

const char* PrefixMissName(PrefixMiss miss) {
  constexpr const char* kNames[kPrefixMisses] = {
      "none", "disabled", "empty", "no_common_prefix", "too_short", "evicted", "unsupported"};
  return kNames[static_cast<size_t>(miss)];
}

void ModelRunner::Retire(std::unique_ptr<RunnerState>, std::span<const int32_t>, std::string_view) {
}

absl::StatusOr<std::vector<float>> ModelRunner::Score(std::span<const int32_t> tokens) {
  LFM2_ASSIGN_OR_RETURN(const NewState fresh, Start({tokens, {}, false}));
  std::vector<float> scores;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += kScoreTokens) {
    const size_t size = std::min(kScoreTokens + 1, tokens.size() - begin);
    LFM2_ASSIGN_OR_RETURN(const std::vector<float> chunk,
                          ScoreChunk(*fresh.state, tokens.subspan(begin, size)));
    scores.insert(scores.end(), chunk.begin(), chunk.end());
  }
  return scores;
}

absl::StatusOr<ParityReport> ModelRunner::Probe(std::span<const int32_t> tokens,
                                                const ReportKeep& keep) {
  LFM2_ASSIGN_OR_RETURN(const std::unique_ptr<ProbePass> pass, StartProbe());
  ReportBuilder report(static_cast<int64_t>(tokens.size()), keep);
  LFM2_RETURN_IF_ERROR(pass->Advance(tokens, report));
  return report.Finish();
}

}  // namespace lfm2
