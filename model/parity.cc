#include "model/parity.h"

#include <c10/core/InferenceMode.h>

#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/core/errors.h"
#include "model/core/status_macros.h"

namespace lfm2 {
namespace {

std::vector<float> Values(const at::Tensor& value) {
  const at::Tensor host = value.to(at::kCPU, at::kFloat).contiguous();
  const float* data = host.const_data_ptr<float>();
  return {data, data + host.numel()};
}

Probe MakeProbe(const std::string& name, const at::Tensor& value) {
  const at::Tensor exact = value.to(at::kCPU).to(at::kDouble);
  const at::Tensor magnitude = exact.abs();
  Probe probe;
  probe.name = name;
  probe.shape = value.sizes().vec();
  probe.sum = exact.sum().item<double>();
  probe.abs_mean = magnitude.mean().item<double>();
  probe.max = magnitude.max().item<double>();
  probe.norm = exact.norm().item<double>();
  return probe;
}

absl::Status CheckTokens(const ModelConfig& config, std::span<const int32_t> tokens) {
  if (tokens.empty()) return Error(Reason::kPromptEmpty, "parity needs at least one token");
  for (const int32_t token : tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return Error(Reason::kInvalidArgument,
                   absl::StrCat("token ", token, " is not in [0, ", config.vocab_size, ")"));
    }
  }
  return absl::OkStatus();
}

ParityReport Run(const Decoder& decoder, std::span<const int32_t> tokens, bool keep_values) {
  ParityReport report;
  const ProbeSink sink = [&](const std::string& name, const at::Tensor& value) {
    report.probes.push_back(MakeProbe(name, value));
    if (keep_values) report.probes.back().values = Values(value);
  };
  const std::vector<int64_t> ids(tokens.begin(), tokens.end());
  const at::Tensor rows =
      at::tensor(ids, at::TensorOptions().dtype(at::kLong)).to(decoder.weights().device());
  const at::Tensor logits =
      decoder.Logits(decoder.Hidden({rows, {{0, rows.size(0), nullptr}}}, &sink));
  report.probes.push_back(MakeProbe("logits", logits));
  report.logits_shape = logits.sizes().vec();
  report.logits = Values(logits);
  return report;
}

}  // namespace

absl::StatusOr<ParityReport> RunParity(const Decoder& decoder, std::span<const int32_t> tokens,
                                       bool keep_values) {
  LFM2_RETURN_IF_ERROR(CheckTokens(decoder.config(), tokens));
  try {
    const c10::InferenceMode inference;
    if (decoder.weights().dtype() == at::kFloat) return Run(decoder, tokens, keep_values);
    const Decoder exact(decoder.config(), decoder.weights().Cast(at::kFloat));
    return Run(exact, tokens, keep_values);
  } catch (const c10::OutOfMemoryError&) {
    return Error(Reason::kGpuOutOfMemory, "the parity pass does not fit in the device's memory");
  } catch (const c10::Error& e) {
    return Error(Reason::kInternal, absl::StrCat("parity pass: ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the parity report does not fit in memory");
  }
}

}  // namespace lfm2
