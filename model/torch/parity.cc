#include "model/torch/parity.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr size_t kChunkTokens = 256;

absl::Status Guarded(absl::FunctionRef<void()> work) {
  try {
    const c10::InferenceMode inference;
    work();
    return absl::OkStatus();
  } catch (const c10::OutOfMemoryError&) {
    return Error(Reason::kGpuOutOfMemory, "the parity pass does not fit in the device's memory");
  } catch (const c10::Error& e) {
    return Error(Reason::kInternal, absl::StrCat("parity pass: ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the parity report does not fit in memory");
  }
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

at::Tensor OnHost(const at::Tensor& value) { return value.to(at::kCPU, at::kFloat).contiguous(); }

std::span<const float> ValuesOf(const at::Tensor& host) {
  return {host.const_data_ptr<float>(), static_cast<size_t>(host.numel())};
}

}  // namespace

ParityPass::ParityPass(Decoder decoder)
    : decoder_(std::move(decoder)), state_(decoder_.NewState()) {}

absl::StatusOr<std::unique_ptr<ParityPass>> ParityPass::Start(const Decoder& decoder) {
  std::unique_ptr<ParityPass> pass;
  LFM2_RETURN_IF_ERROR(Guarded([&] {
    const bool exact = decoder.weights().dtype() == at::kFloat;
    pass.reset(new ParityPass(
        exact ? decoder : Decoder(decoder.config(), decoder.weights().Cast(at::kFloat))));
  }));
  return pass;
}

absl::Status ParityPass::Advance(std::span<const int32_t> tokens, ReportBuilder& report) {
  LFM2_RETURN_IF_ERROR(CheckTokens(decoder_.config(), tokens));
  return Guarded([&] { Run(tokens, report); });
}

void ParityPass::Run(std::span<const int32_t> tokens, ReportBuilder& report) {
  const ProbeSink sink = [&](const std::string& name, const at::Tensor& value) {
    const at::Tensor host = OnHost(value);
    report.Add(name, ValuesOf(host), value.sizes().vec());
  };
  const std::vector<int64_t> ids(tokens.begin(), tokens.end());
  const at::Tensor rows =
      at::tensor(ids, at::TensorOptions().dtype(at::kLong)).to(decoder_.weights().device());
  const at::Tensor logits =
      OnHost(decoder_.Logits(decoder_.Hidden({rows, {{0, rows.size(0), state_.get()}}}, &sink)));
  report.AddLogits(ValuesOf(logits), logits.size(1));
}

absl::StatusOr<ParityReport> RunParity(const Decoder& decoder, std::span<const int32_t> tokens,
                                       bool keep_values, const StopCheck& stop) {
  LFM2_RETURN_IF_ERROR(CheckTokens(decoder.config(), tokens));
  LFM2_ASSIGN_OR_RETURN(const std::unique_ptr<ParityPass> pass, ParityPass::Start(decoder));
  ReportBuilder report(static_cast<int64_t>(tokens.size()),
                       {.values = keep_values, .all_logits = true});
  for (auto left = tokens; !left.empty();) {
    LFM2_RETURN_IF_ERROR(CheckStop(stop));
    const size_t rows = std::min(kChunkTokens, left.size());
    LFM2_RETURN_IF_ERROR(pass->Advance(left.first(rows), report));
    left = left.subspan(rows);
  }
  return report.Finish();
}

}  // namespace lfm2
