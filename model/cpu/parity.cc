#include "model/cpu/parity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"

namespace lfm2 {
namespace {

Probe MakeProbe(const std::string& name, std::span<const float> values,
                const std::vector<int64_t>& shape) {
  Probe probe;
  probe.name = name;
  probe.shape = shape;
  double squares = 0, magnitudes = 0;
  for (const float value : values) {
    const double exact = value, magnitude = std::abs(exact);
    probe.sum += exact;
    magnitudes += magnitude;
    squares += exact * exact;
    if (!(magnitude <= probe.max)) probe.max = magnitude;  // a NaN stays
  }
  probe.abs_mean = magnitudes / static_cast<double>(std::max<size_t>(1, values.size()));
  probe.norm = std::sqrt(squares);
  return probe;
}

absl::StatusOr<ParityReport> Run(CpuDecoder& decoder, std::span<const int32_t> tokens,
                                 bool keep_values) {
  const StateShape& shape = decoder.state_shape();
  BlockPool pool(std::max<int64_t>(1, shape.block_bytes()), std::numeric_limits<int64_t>::max());
  CpuState state(shape, pool, /*checkpoint_tokens=*/0);
  LFM2_RETURN_IF_ERROR(state.Reserve(static_cast<int64_t>(tokens.size())));
  ParityReport report;
  const auto add = [&](const std::string& name, std::span<const float> values,
                       const std::vector<int64_t>& probe_shape) {
    report.probes.push_back(MakeProbe(name, values, probe_shape));
    if (keep_values) report.probes.back().values.assign(values.begin(), values.end());
  };
  const CpuProbeSink sink = add;
  const CpuSpan span{tokens, &state, LogitRows::kAll};
  LFM2_ASSIGN_OR_RETURN(const std::span<const float> logits, decoder.Forward({&span, 1}, &sink));
  report.logits_shape = {static_cast<int64_t>(tokens.size()),
                         decoder.weights().config().vocab_size};
  report.probes.push_back(MakeProbe("logits", logits, report.logits_shape));
  report.logits.assign(logits.begin(), logits.end());
  return report;
}

}  // namespace

absl::StatusOr<ParityReport> RunCpuParity(CpuDecoder& decoder, std::span<const int32_t> tokens,
                                          bool keep_values) {
  if (tokens.empty()) return Error(Reason::kPromptEmpty, "parity needs at least one token");
  for (const int32_t token : tokens) {
    if (token < 0 || token >= decoder.weights().config().vocab_size) {
      return Error(Reason::kInvalidArgument,
                   "token " + std::to_string(token) + " is not in [0, " +
                       std::to_string(decoder.weights().config().vocab_size) + ")");
    }
  }
  try {
    return Run(decoder, tokens, keep_values);
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the parity report does not fit in memory");
  }
}

}  // namespace lfm2
