#include "server/rpc/calls/convert_models.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/jobs/wire/job_messages.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;
constexpr size_t kReportBytes = 3 << 20;

void CheckSize(const char* field, const std::optional<int64_t>& value, int64_t low, int64_t high,
               RequestCheck& check) {
  if (value) check.Range(std::string("shape.") + field, *value, low, high);
}

absl::Status CheckInit(const v1::InitModelRequest& request, const Limits& limits, JobSpec& spec) {
  RequestCheck check;
  CheckRequestId(request.request_id(), limits, check);
  CheckName("name", request.name(), limits, check);
  if (request.has_source()) {
    CheckSource("source", request.source(), ByteTokenizer::kRefused, limits, check);
  }
  if (request.has_tokenizer()) {
    CheckSource("tokenizer", request.tokenizer(), ByteTokenizer::kAllowed, limits, check);
  }
  if (request.partial() && !request.has_source()) check.Add("partial", "is set without a source");
  spec.shape = CheckShape(request.shape(), limits, check);
  return check.ToStatus();
}

}  // namespace

ModelShape CheckShape(const v1::ModelShape& in, const Limits& limits, RequestCheck& check) {
  ModelShape out;
  FromProto(in, out, [&](std::string_view field, const std::string& fault) {
    check.Add("shape." + std::string(field), fault);
  });
  CheckSize("vocab_size", out.vocab_size, 1, limits.vocab_size, check);
  CheckSize("d_model", out.hidden_size, 1, kMaxWidth, check);
  CheckSize("n_layers", out.num_layers, 1, limits.layers, check);
  CheckSize("n_heads", out.num_heads, 1, kMaxWidth, check);
  CheckSize("n_kv_heads", out.num_kv_heads, 1, kMaxWidth, check);
  CheckSize("intermediate_size", out.intermediate_size, 1, kMaxWidth, check);
  CheckSize("ssm_state_size", out.ssm_state_size, 1, kMaxWidth, check);
  CheckSize("attn_every", out.attn_every, 0, limits.layers, check);
  CheckSize("conv_kernel", out.conv_kernel, 1, kMaxWidth, check);
  if (out.rope_theta) {
    check.Real("shape.rope_theta", *out.rope_theta, *out.rope_theta > 0, "a number over 0");
  }
  if (out.norm_eps) {
    check.Real("shape.norm_eps", *out.norm_eps, *out.norm_eps > 0 && *out.norm_eps <= 1,
               "more than 0, at most 1");
  }
  return out;
}

absl::StatusOr<JobSpec> InitJob(const v1::InitModelRequest& request,
                                const ServiceContext& services) {
  JobSpec spec;
  spec.kind = JobKind::kInit;
  LFM2_RETURN_IF_ERROR(CheckInit(request, services.limits, spec));
  spec.model_name = request.name();
  spec.partial = request.partial();
  spec.seed = request.seed();
  LFM2_ASSIGN_OR_RETURN(spec.source, ResolveSource(request.source(), services));
  LFM2_ASSIGN_OR_RETURN(spec.tokenizer, ResolveSource(request.tokenizer(), services));
  return spec;
}

absl::StatusOr<JobSpec> ExportJob(const v1::ExportRequest& request,
                                  const ServiceContext& services) {
  RequestCheck check;
  CheckRequestId(request.request_id(), services.limits, check);
  CheckModelRef(request.model(), services.limits, check);
  JobSpec spec;
  spec.kind = JobKind::kExport;
  if (const std::optional<ExportFormat> format = FromProto(request.format())) {
    spec.export_format = *format;
  } else {
    check.Add("format", absl::StrCat("is ", static_cast<int>(request.format()),
                                     ", must be EXPORT_FORMAT_NPZ or EXPORT_FORMAT_SAFETENSORS"));
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const std::string reference, ModelReference(request.model(), services));
  LFM2_ASSIGN_OR_RETURN(const ModelVersion version, services.model_store.Resolve(reference));
  spec.model_name = version.name;
  spec.source = FolderSource(version);
  return spec;
}

absl::StatusOr<ParityAsk> CheckParity(const v1::ParityRequest& request, const Limits& limits) {
  RequestCheck check;
  CheckModelRef(request.model(), limits, check);
  ParityAsk ask;
  ask.tokens.assign(request.tokens().begin(), request.tokens().end());
  ask.all_logits = request.all_logits();
  ask.values = request.values();
  if (request.has_tolerance()) ask.tolerance = request.tolerance();
  const auto count = static_cast<int64_t>(ask.tokens.size());
  if (count == 0) check.Add("tokens", "is empty", Reason::kPromptEmpty);
  if (count > limits.parity_tokens) {
    check.Add("tokens", absl::StrCat("has ", count, " tokens, limit ", limits.parity_tokens),
              Reason::kPromptTooLong,
              {{"tokens", std::to_string(count)}, {"limit", std::to_string(limits.parity_tokens)}});
  }
  check.Real("tolerance", ask.tolerance, ask.tolerance >= 0, "0 or more");
  if (request.has_against()) {
    CheckSource("against", request.against(), ByteTokenizer::kRefused, limits, check);
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return ask;
}

absl::Status CheckParityTokens(const std::vector<int32_t>& tokens, int64_t vocab_size,
                               int64_t context) {
  constexpr int kNamed = 8;
  RequestCheck check;
  const auto count = static_cast<int64_t>(tokens.size());
  if (context > 0 && count > context) {
    check.Add("tokens", absl::StrCat("has ", count, " tokens, limit ", context),
              Reason::kPromptTooLong,
              {{"tokens", std::to_string(count)}, {"limit", std::to_string(context)}});
  }
  int named = 0;
  for (size_t i = 0; i < tokens.size() && named < kNamed; ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    check.Add(absl::StrCat("tokens[", i, "]"),
              absl::StrCat("is ", tokens[i], ", must be 0 to ", vocab_size - 1));
    ++named;
  }
  return check.ToStatus();
}

v1::ParityResponse ProbeMessage(const Probe& probe, size_t offset) {
  v1::ParityResponse out;
  v1::Probe& message = *out.mutable_probe();
  message.set_name(probe.name);
  message.mutable_shape()->Assign(probe.shape.begin(), probe.shape.end());
  message.set_sum(probe.sum);
  message.set_abs_mean(probe.abs_mean);
  message.set_max(probe.max);
  message.set_norm(probe.norm);
  message.set_offset(static_cast<int64_t>(offset));
  const size_t end = std::min(probe.values.size(), offset + kValuesPerMessage);
  message.mutable_values()->Assign(probe.values.begin() + static_cast<ptrdiff_t>(offset),
                                   probe.values.begin() + static_cast<ptrdiff_t>(end));
  return out;
}

v1::ParityResponse LogitsMessage(const ParityReport& report, int64_t position, size_t offset) {
  v1::ParityResponse out;
  v1::Logits& message = *out.mutable_logits();
  message.set_position(position);
  message.set_offset(static_cast<int64_t>(offset));
  const auto vocab = static_cast<size_t>(report.logits_shape[1]);
  const auto row =
      report.logits.begin() +
      static_cast<ptrdiff_t>((position - report.first_logits()) * report.logits_shape[1]);
  const size_t end = std::min(vocab, offset + kValuesPerMessage);
  message.mutable_values()->Assign(row + static_cast<ptrdiff_t>(offset),
                                   row + static_cast<ptrdiff_t>(end));
  return out;
}

v1::ParityResponse ComparisonMessage(const ParityComparison& comparison) {
  v1::ParityResponse out;
  v1::ParityComparison& message = *out.mutable_comparison();
  for (const ProbeDifference& difference : comparison.probes) {
    v1::ProbeDifference& probe = *message.add_probes();
    probe.set_name(difference.name);
    probe.set_max_abs_difference(difference.max_abs_difference);
    probe.set_tolerance(difference.tolerance);
    probe.set_differs(difference.differs);
    probe.set_note(difference.note);
  }
  message.set_first_difference(comparison.first_difference.value_or(""));
  message.set_max_logit_difference(comparison.max_logit_difference);
  return out;
}

v1::ConversionReport ToProto(const ConversionReport& report) {
  v1::ConversionReport out;
  size_t bytes = 0;
  for (size_t i = 0; i < report.tensors.size(); ++i) {
    const TensorReport& tensor = report.tensors[i];
    bytes += tensor.name.size() + tensor.note.size() + 16;
    if (bytes > kReportBytes) {
      out.add_tensors()->set_note(
          absl::StrCat(report.tensors.size() - i, " more tensors do not fit into this message"));
      break;
    }
    v1::TensorReport& message = *out.add_tensors();
    message.set_name(tensor.name);
    message.set_fate(ToProto(tensor.fate));
    message.set_note(tensor.note);
  }
  return out;
}

}  // namespace lfm2
