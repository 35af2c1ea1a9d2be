#include "server/rpc/calls/convert_training.h"

#include <algorithm>
#include <set>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_models.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {
namespace {

constexpr int kMaxDatasets = 64;

template <typename T, typename U>
void Take(bool set, const U& value, T& out) {
  if (set) out = value;
}

void TakeSchedule(v1::LrSchedule schedule, TrainSpec& spec, RequestCheck& check) {
  switch (schedule) {
    case v1::LR_SCHEDULE_UNSPECIFIED:
      return;
    case v1::LR_SCHEDULE_CONSTANT:
      spec.schedule = LrSchedule::kConstant;
      return;
    case v1::LR_SCHEDULE_LINEAR:
      spec.schedule = LrSchedule::kLinear;
      return;
    case v1::LR_SCHEDULE_COSINE:
      spec.schedule = LrSchedule::kCosine;
      return;
    case v1::LR_SCHEDULE_WSD:
      spec.schedule = LrSchedule::kWsd;
      return;
    default:
      check.Add("options.schedule",
                absl::StrCat("is ", static_cast<int>(schedule), ", which is not a schedule"));
  }
}

void TakeDtype(const v1::TrainOptions& in, TrainSpec& spec, RequestCheck& check) {
  if (!in.has_dtype() || in.dtype() == "auto") return;
  if (in.dtype() == "float32") {
    spec.dtype = TrainDtype::kFloat32;
  } else if (in.dtype() == "bfloat16") {
    spec.dtype = TrainDtype::kBfloat16;
  } else {
    check.Add("options.dtype", "is \"" + in.dtype() + "\", must be auto, float32 or bfloat16");
  }
}

TrainSpec SpecOf(const v1::TrainOptions& in, const std::string& default_device,
                 RequestCheck& check) {
  TrainSpec spec;
  if (!default_device.empty()) spec.device = default_device;
  Take(in.has_steps(), in.steps(), spec.steps);
  Take(in.has_batch_size(), in.batch_size(), spec.batch_size);
  Take(in.has_seq_len(), in.seq_len(), spec.seq_len);
  Take(in.has_grad_accumulation(), in.grad_accumulation(), spec.grad_accumulation);
  Take(in.has_lr(), in.lr(), spec.lr);
  Take(in.has_min_lr_ratio(), in.min_lr_ratio(), spec.min_lr_ratio);
  Take(in.has_warmup_steps(), in.warmup_steps(), spec.warmup_steps);
  Take(in.has_wsd_decay_ratio(), in.wsd_decay_ratio(), spec.wsd_decay_ratio);
  Take(in.has_weight_decay(), in.weight_decay(), spec.weight_decay);
  Take(in.has_beta1(), in.beta1(), spec.beta1);
  Take(in.has_beta2(), in.beta2(), spec.beta2);
  Take(in.has_epsilon(), in.epsilon(), spec.epsilon);
  Take(in.has_clip_norm(), in.clip_norm(), spec.clip_norm);
  Take(in.has_eval_ratio(), in.eval_ratio(), spec.eval_ratio);
  Take(in.has_eval_every(), in.eval_every(), spec.eval_every);
  Take(in.has_checkpoint_every(), in.checkpoint_every(), spec.checkpoint_every);
  Take(in.has_keep_checkpoints(), in.keep_checkpoints(), spec.keep_checkpoints);
  Take(in.has_seed(), in.seed(), spec.seed);
  Take(in.has_device(), in.device(), spec.device);
  Take(in.has_threads(), in.threads(), spec.threads);
  TakeSchedule(in.schedule(), spec, check);
  TakeDtype(in, spec, check);
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

v1::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return v1::JOB_STATE_QUEUED;
    case JobState::kRunning:
      return v1::JOB_STATE_RUNNING;
    case JobState::kSucceeded:
      return v1::JOB_STATE_SUCCEEDED;
    case JobState::kFailed:
      return v1::JOB_STATE_FAILED;
    case JobState::kCancelled:
      return v1::JOB_STATE_CANCELLED;
    case JobState::kQuarantined:
      return v1::JOB_STATE_QUARANTINED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

v1::JobKind ToProto(JobKind kind) {
  switch (kind) {
    case JobKind::kTrain:
      return v1::JOB_KIND_TRAIN;
    case JobKind::kInit:
      return v1::JOB_KIND_INIT;
    case JobKind::kExport:
      return v1::JOB_KIND_EXPORT;
  }
  return v1::JOB_KIND_UNSPECIFIED;
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

void SetBody(const StepMetrics& in, v1::JobEvent& out) {
  v1::StepMetrics& metrics = *out.mutable_metrics();
  metrics.set_step(in.step);
  metrics.set_loss(in.loss);
  metrics.set_lr(in.lr);
  metrics.set_grad_norm(in.grad_norm);
  metrics.set_tokens(in.tokens);
  metrics.set_tokens_per_second(in.tokens_per_second);
  metrics.set_step_ms(in.step_ms);
}

void SetBody(const EvalMetrics& in, v1::JobEvent& out) {
  v1::EvalMetrics& eval = *out.mutable_eval();
  eval.set_step(in.step);
  eval.set_loss(in.loss);
  eval.set_tokens(in.tokens);
}

void SetBody(const CheckpointInfo& in, v1::JobEvent& out) {
  out.mutable_checkpoint()->set_step(in.step);
  out.mutable_checkpoint()->set_name(in.name);
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
  for (const JobState candidate :
       {JobState::kQueued, JobState::kRunning, JobState::kSucceeded, JobState::kFailed,
        JobState::kCancelled, JobState::kQuarantined}) {
    if (ToProto(candidate) == state) return candidate;
  }
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

v1::Progress ToProto(const Progress& progress) {
  v1::Progress out;
  out.set_done(progress.done);
  out.set_total(progress.total);
  out.set_what(progress.what);
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
