#include "server/rpc/calls/convert_training.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/jobs/wire/job_messages.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_models.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {
namespace {

constexpr int kMaxDatasets = 64;

TrainSpec SpecOf(const v1::TrainOptions& in, const std::string& default_device,
                 RequestCheck& check) {
  TrainSpec spec;
  if (!default_device.empty()) spec.device = default_device;
  FromProto(in, spec, [&](std::string_view field, const std::string& fault) {
    check.Add("options." + std::string(field), fault);
  });
  check.Add("options", CheckTrainSpec(spec));
  return spec;
}

void CheckDatasets(const v1::StartTrainingRequest& request, const Limits& limits,
                   RequestCheck& check) {
  if (request.datasets().empty()) check.Add("datasets", "is empty", Reason::kInvalidArgument);
  check.Count("datasets", request.datasets_size(), kMaxDatasets);
  std::set<std::string> names;
  for (int i = 0; i < std::min(request.datasets_size(), kMaxDatasets); ++i) {
    const v1::NamedDataset& dataset = request.datasets(i);
    const std::string field = absl::StrCat("datasets[", i, "]");
    CheckName(field + ".name", dataset.name(), limits, check);
    CheckDatasetId(field + ".dataset", dataset.dataset(), check);
    if (!names.insert(dataset.name()).second) {
      check.Add(field + ".name", "is \"" + dataset.name() + "\", which an earlier one has");
    }
  }
}

void CheckLabel(const std::string& key, const std::string& value, const Limits& limits,
                RequestCheck& check) {
  const auto key_bytes = static_cast<int64_t>(key.size());
  const auto value_bytes = static_cast<int64_t>(value.size());
  if (key.empty()) check.Add("labels", "has an empty key");
  if (key_bytes > limits.label_bytes) {
    check.Add("labels",
              absl::StrCat("has a key of ", key_bytes, " bytes, limit ", limits.label_bytes));
  }
  if (value_bytes > limits.label_bytes) {
    check.Add("labels." + key.substr(0, 64),
              absl::StrCat("has ", value_bytes, " bytes, limit ", limits.label_bytes));
  }
}

absl::Status CheckTrain(const v1::StartTrainingRequest& request, const ServiceContext& services,
                        JobSpec& spec) {
  const Limits& limits = services.limits;
  const auto bytes = static_cast<int64_t>(request.ByteSizeLong());
  if (bytes > limits.job_spec_bytes) {
    return Error(
        Reason::kMessageTooLarge,
        absl::StrCat("the request has ", bytes, " bytes, limit ", limits.job_spec_bytes),
        {{"bytes", std::to_string(bytes)}, {"limit", std::to_string(limits.job_spec_bytes)}});
  }
  RequestCheck check;
  CheckRequestId(request.request_id(), limits, check);
  CheckName("name", request.name(), limits, check);
  CheckDatasets(request, limits, check);
  if (request.has_init_from()) {
    CheckSource("init_from", request.init_from(), ByteTokenizer::kRefused, limits, check);
  }
  if (request.has_tokenizer()) {
    CheckSource("tokenizer", request.tokenizer(), ByteTokenizer::kAllowed, limits, check);
  }
  if (request.partial() && !request.has_init_from()) {
    check.Add("partial", "is set without init_from");
  }
  check.Count("labels", static_cast<int64_t>(request.labels().size()), limits.labels);
  for (const auto& [key, value] : request.labels()) CheckLabel(key, value, limits, check);
  spec.shape = CheckShape(request.shape(), limits, check);
  spec.train = SpecOf(request.options(), services.train_device, check);
  return check.ToStatus();
}

void SetError(const absl::Status& status, v1::JobError& out) {
  out.set_reason(lfm2::SpecOf(DetailsOf(status).reason).name);
  out.set_message(std::string(status.message()));
}

void SetBody(const StateChange& in, v1::JobEvent& out) {
  v1::StateChange& state = *out.mutable_state();
  state.set_state(ToProto(in.state));
  state.set_attempt(in.attempt);
  if (!in.status.ok()) SetError(in.status, *state.mutable_error());
  state.set_result_version(in.result_version);
}

void SetBody(const StepMetrics& in, v1::JobEvent& out) { *out.mutable_metrics() = ToProto(in); }
void SetBody(const EvalMetrics& in, v1::JobEvent& out) { *out.mutable_eval() = ToProto(in); }
void SetBody(const CheckpointInfo& in, v1::JobEvent& out) {
  *out.mutable_checkpoint() = ToProto(in);
}
void SetBody(const Note& in, v1::JobEvent& out) { out.set_note(in.text); }
void SetBody(const Progress& in, v1::JobEvent& out) { *out.mutable_progress() = ToProto(in); }
void SetBody(const ConversionReport& in, v1::JobEvent& out) { *out.mutable_report() = ToProto(in); }

}  // namespace

absl::StatusOr<JobSpec> TrainJob(const v1::StartTrainingRequest& request,
                                 const ServiceContext& services) {
  JobSpec spec;
  spec.kind = JobKind::kTrain;
  LFM2_RETURN_IF_ERROR(CheckTrain(request, services, spec));
  spec.model_name = request.name();
  spec.partial = request.partial();
  spec.seed = static_cast<uint64_t>(spec.train.seed);
  spec.labels = {request.labels().begin(), request.labels().end()};
  LFM2_ASSIGN_OR_RETURN(spec.source, ResolveSource(request.init_from(), services));
  LFM2_ASSIGN_OR_RETURN(spec.tokenizer, ResolveSource(request.tokenizer(), services));
  for (const v1::NamedDataset& dataset : request.datasets()) {
    LFM2_RETURN_IF_ERROR(services.datasets.Get(dataset.dataset()).status());
    spec.datasets.push_back({dataset.name(), dataset.dataset()});
  }
  return spec;
}

std::optional<JobState> CheckJobState(v1::JobState state, RequestCheck& check) {
  if (const std::optional<JobState> known = FromProto(state)) return known;
  if (state != v1::JOB_STATE_UNSPECIFIED) {
    check.Add("state", absl::StrCat("is ", static_cast<int>(state), ", which is not a state"));
  }
  return std::nullopt;
}

v1::Job ToProto(const Job& job) {
  v1::Job out;
  out.set_id(job.id);
  out.set_kind(ToProto(job.spec.kind));
  out.set_state(ToProto(job.state));
  out.set_model(job.spec.model_name);
  out.set_created_at_ms(job.created_at_ms);
  out.set_updated_at_ms(job.updated_at_ms);
  out.set_attempt(job.attempt);
  out.set_step(job.step);
  if (job.spec.kind == JobKind::kTrain) out.set_steps(job.spec.train.steps);
  out.set_loss(job.loss);
  out.set_tokens_per_second(job.tokens_per_second);
  out.set_checkpoint(job.checkpoint);
  out.set_cancel_requested(job.cancel_requested);
  if (!job.error.ok()) SetError(job.error, *out.mutable_error());
  out.set_result_version(job.result_version);
  out.mutable_labels()->insert(job.spec.labels.begin(), job.spec.labels.end());
  out.set_last_seq(job.last_seq);
  out.set_request_id(job.request_id);
  return out;
}

v1::JobEvent ToProto(const JobEvent& event) {
  v1::JobEvent out;
  out.set_seq(event.seq);
  out.set_at_ms(event.at_ms);
  std::visit([&](const auto& body) { SetBody(body, out); }, event.body);
  return out;
}

v1::TrainPlan ToProto(const TrainPlan& plan) {
  v1::TrainPlan out;
  out.set_dataset_tokens(plan.dataset_tokens);
  out.set_eval_tokens(plan.eval_tokens);
  out.set_tokens_per_step(plan.tokens_per_step);
  out.set_epochs(plan.epochs);
  out.set_parameters(plan.parameters);
  out.set_memory_bytes(plan.memory_bytes);
  out.set_checkpoint_bytes(plan.checkpoint_bytes);
  return out;
}

v1::Dataset ToProto(const DatasetInfo& info) {
  v1::Dataset out;
  out.set_id(info.id);
  out.set_name(info.name);
  out.set_bytes(info.bytes);
  out.set_created_at_ms(info.created_at_ms);
  out.set_existed(info.existed);
  return out;
}

}  // namespace lfm2
