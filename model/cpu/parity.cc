#include "model/cpu/parity.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr size_t kRows = 64;  // per forward pass; all of them have logits

absl::Status CheckTokens(std::span<const int32_t> tokens, int64_t vocab_size) {
  if (tokens.empty()) return Error(Reason::kPromptEmpty, "parity needs at least one token");
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size) {
      return Error(Reason::kInvalidArgument, "token " + std::to_string(token) + " is not in [0, " +
                                                 std::to_string(vocab_size) + ")");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCpuParity(CpuDecoder& decoder, CpuState& state, std::span<const int32_t> tokens,
                          ReportBuilder& report) {
  const int64_t vocab_size = decoder.weights().config().vocab_size;
  LFM2_RETURN_IF_ERROR(CheckTokens(tokens, vocab_size));
  LFM2_RETURN_IF_ERROR(state.Reserve(static_cast<int64_t>(tokens.size())));
  const CpuProbeSink sink = [&](const std::string& name, std::span<const float> values,
                                const std::vector<int64_t>& shape) {
    report.Add(name, values, shape);
  };
  while (!tokens.empty()) {
    const size_t rows = std::min(kRows, tokens.size());
    const CpuSpan span{tokens.first(rows), &state, LogitRows::kAll};
    LFM2_ASSIGN_OR_RETURN(const std::span<const float> logits, decoder.Forward({&span, 1}, &sink));
    report.AddLogits(logits, vocab_size);
    tokens = tokens.subspan(rows);
  }
  return absl::OkStatus();
}

}  // namespace lfm2
