#include "server/jobs/wire/codec.h"

#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "lfm2/internal/worker.pb.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

namespace pb = internal;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

absl::Status Malformed(std::string_view what) {
  return Error(Reason::kInternal, "stored or received bytes are not a valid " + std::string(what));
}

// `count` is how many values the enumeration has, from 0 without a gap.
template <class E>
absl::Status TakeEnum(int32_t value, int32_t count, std::string_view what, E& out) {
  if (value < 0 || value >= count) return Malformed(what);
  out = static_cast<E>(value);
  return absl::OkStatus();
}

template <class Message>
absl::StatusOr<Message> Parse(std::string_view bytes, std::string_view what) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed(what);
  return message;
}

void ToProto(const std::vector<NamedFile>& files,
             google::protobuf::RepeatedPtrField<pb::NamedFile>* out) {
  for (const NamedFile& file : files) {
    pb::NamedFile* added = out->Add();
    added->set_name(file.name);
    added->set_dataset(file.dataset);
  }
}

std::vector<NamedFile> FromProto(const google::protobuf::RepeatedPtrField<pb::NamedFile>& files) {
  std::vector<NamedFile> out;
  for (const pb::NamedFile& file : files) out.push_back({file.name(), file.dataset()});
  return out;
}

void ToProto(const SourceSpec& source, pb::SourceSpec* out) {
  out->set_kind(static_cast<int32_t>(source.kind));
  out->set_name(source.name);
  out->set_directory(source.directory);
  ToProto(source.files, out->mutable_files());
}

absl::Status FromProto(const pb::SourceSpec& source, SourceSpec& out) {
  LFM2_RETURN_IF_ERROR(TakeEnum(source.kind(), 4, "source kind", out.kind));
  out.name = source.name();
  out.directory = source.directory();
  out.files = FromProto(source.files());
  return absl::OkStatus();
}

// One list of the optional fields for both directions.
// clang-format off
#define LFM2_SHAPE_FIELDS(X)                                                                    \
  X(vocab_size) X(hidden_size) X(num_layers) X(num_heads) X(num_kv_heads) X(intermediate_size) \
  X(ssm_state_size) X(attn_every) X(conv_kernel) X(parallel_residual) X(tie_word_embeddings)   \
  X(rope_theta) X(norm_eps)
// clang-format on

void ToProto(const ModelShape& shape, pb::ModelShape* out) {
  if (shape.architecture) out->set_architecture(static_cast<int32_t>(*shape.architecture));
#define LFM2_SET(field) \
  if (shape.field) out->set_##field(*shape.field);
  LFM2_SHAPE_FIELDS(LFM2_SET)
#undef LFM2_SET
}

absl::Status FromProto(const pb::ModelShape& shape, ModelShape& out) {
  if (shape.has_architecture()) {
    Architecture architecture{};
    LFM2_RETURN_IF_ERROR(TakeEnum(shape.architecture(), static_cast<int>(AllArchitectures().size()),
                                  "architecture", architecture));
    out.architecture = architecture;
  }
#define LFM2_GET(field) \
  if (shape.has_##field()) out.field = shape.field();
  LFM2_SHAPE_FIELDS(LFM2_GET)
#undef LFM2_GET
  return absl::OkStatus();
}

// clang-format off
#define LFM2_TRAIN_FIELDS(X)                                                                  \
  X(steps) X(batch_size) X(seq_len) X(grad_accumulation) X(lr) X(min_lr_ratio)                \
  X(warmup_steps) X(wsd_decay_ratio) X(weight_decay) X(beta1) X(beta2) X(epsilon)             \
  X(clip_norm) X(eval_ratio) X(eval_every) X(checkpoint_every) X(keep_checkpoints) X(seed)    \
  X(device) X(threads)
// clang-format on

void ToProto(const TrainSpec& spec, pb::TrainSpec* out) {
  out->set_schedule(static_cast<int32_t>(spec.schedule));
  out->set_dtype(static_cast<int32_t>(spec.dtype));
#define LFM2_SET(field) out->set_##field(spec.field);
  LFM2_TRAIN_FIELDS(LFM2_SET)
#undef LFM2_SET
}

absl::Status FromProto(const pb::TrainSpec& spec, TrainSpec& out) {
  LFM2_RETURN_IF_ERROR(TakeEnum(spec.schedule(), 4, "learning rate schedule", out.schedule));
  LFM2_RETURN_IF_ERROR(TakeEnum(spec.dtype(), 3, "training dtype", out.dtype));
#define LFM2_GET(field) out.field = spec.field();
  LFM2_TRAIN_FIELDS(LFM2_GET)
#undef LFM2_GET
  return absl::OkStatus();
}

void ToProto(const JobSpec& spec, pb::JobSpec* out) {
  out->set_kind(static_cast<int32_t>(spec.kind));
  out->set_model_name(spec.model_name);
  ToProto(spec.source, out->mutable_source());
  ToProto(spec.tokenizer, out->mutable_tokenizer());
  ToProto(spec.shape, out->mutable_shape());
  out->set_partial(spec.partial);
  out->set_seed(spec.seed);
  ToProto(spec.train, out->mutable_train());
  ToProto(spec.datasets, out->mutable_datasets());
  out->set_export_format(static_cast<int32_t>(spec.export_format));
  for (const auto& [key, value] : spec.labels) {
    pb::Label* label = out->add_labels();
    label->set_key(key);
    label->set_value(value);
  }
}

absl::Status FromProto(const pb::JobSpec& spec, JobSpec& out) {
  LFM2_RETURN_IF_ERROR(TakeEnum(spec.kind(), 3, "job kind", out.kind));
  LFM2_RETURN_IF_ERROR(FromProto(spec.source(), out.source));
  LFM2_RETURN_IF_ERROR(FromProto(spec.tokenizer(), out.tokenizer));
  LFM2_RETURN_IF_ERROR(FromProto(spec.shape(), out.shape));
  LFM2_RETURN_IF_ERROR(FromProto(spec.train(), out.train));
  LFM2_RETURN_IF_ERROR(TakeEnum(spec.export_format(), 2, "export format", out.export_format));
  out.model_name = spec.model_name();
  out.partial = spec.partial();
  out.seed = spec.seed();
  out.datasets = FromProto(spec.datasets());
  for (const pb::Label& label : spec.labels()) out.labels[label.key()] = label.value();
  return absl::OkStatus();
}

void ToProto(const std::vector<ExportedFile>& files,
             google::protobuf::RepeatedPtrField<pb::File>* out) {
  for (const ExportedFile& file : files) {
    pb::File* added = out->Add();
    added->set_name(file.name);
    added->set_bytes(file.bytes);
    added->set_sha256(file.sha256);
  }
}

std::vector<ExportedFile> FromProto(const google::protobuf::RepeatedPtrField<pb::File>& files) {
  std::vector<ExportedFile> out;
  for (const pb::File& file : files) out.push_back({file.name(), file.bytes(), file.sha256()});
  return out;
}

void ToProto(const StateChange& change, pb::StateChange* out) {
  out->set_state(static_cast<int32_t>(change.state));
  out->set_attempt(change.attempt);
  out->set_status(SerializeStatus(change.status));
  out->set_result_version(change.result_version);
  ToProto(change.files, out->mutable_files());
}

void ToProto(const StepMetrics& step, pb::StepMetrics* out) {
  out->set_step(step.step);
  out->set_loss(step.loss);
  out->set_lr(step.lr);
  out->set_grad_norm(step.grad_norm);
  out->set_tokens(step.tokens);
  out->set_tokens_per_second(step.tokens_per_second);
  out->set_step_ms(step.step_ms);
}

void ToProto(const ConversionReport& report, pb::ConversionReport* out) {
  for (const TensorReport& tensor : report.tensors) {
    pb::TensorReport* added = out->add_tensors();
    added->set_name(tensor.name);
    added->set_fate(static_cast<int32_t>(tensor.fate));
    added->set_note(tensor.note);
  }
}

void ToProto(const EvalMetrics& eval, pb::EvalMetrics* out) {
  out->set_step(eval.step);
  out->set_loss(eval.loss);
  out->set_tokens(eval.tokens);
}

void ToProto(const CheckpointInfo& checkpoint, pb::Checkpoint* out) {
  out->set_step(checkpoint.step);
  out->set_name(checkpoint.name);
}

void ToProto(const Progress& progress, pb::Progress* out) {
  out->set_done(progress.done);
  out->set_total(progress.total);
  out->set_what(progress.what);
}

void ToProto(const JobEventBody& body, pb::Event* out) {
  std::visit(Overloaded{
                 [&](const StateChange& b) { ToProto(b, out->mutable_state()); },
                 [&](const StepMetrics& b) { ToProto(b, out->mutable_step()); },
                 [&](const EvalMetrics& b) { ToProto(b, out->mutable_eval()); },
                 [&](const CheckpointInfo& b) { ToProto(b, out->mutable_checkpoint()); },
                 [&](const Note& b) { out->set_note(b.text); },
                 [&](const Progress& b) { ToProto(b, out->mutable_progress()); },
                 [&](const ConversionReport& b) { ToProto(b, out->mutable_report()); },
             },
             body);
}

absl::StatusOr<JobEventBody> FromProto(const pb::StateChange& change) {
  StateChange out;
  LFM2_RETURN_IF_ERROR(TakeEnum(change.state(), 6, "job state", out.state));
  out.attempt = change.attempt();
  out.status = ParseStatus(change.status());
  out.result_version = change.result_version();
  out.files = FromProto(change.files());
  return out;
}

absl::StatusOr<JobEventBody> FromProto(const pb::ConversionReport& report) {
  ConversionReport out;
  for (const pb::TensorReport& tensor : report.tensors()) {
    TensorReport added{tensor.name(), TensorFate::kCopied, tensor.note()};
    LFM2_RETURN_IF_ERROR(TakeEnum(tensor.fate(), 5, "tensor fate", added.fate));
    out.tensors.push_back(std::move(added));
  }
  return out;
}

JobEventBody FromProto(const pb::StepMetrics& step) {
  return StepMetrics{step.step(),      step.loss(),   step.lr(),
                     step.grad_norm(), step.tokens(), step.tokens_per_second(),
                     step.step_ms()};
}

absl::StatusOr<JobEventBody> BodyOf(const pb::Event& event) {
  switch (event.body_case()) {
    case pb::Event::kState:
      return FromProto(event.state());
    case pb::Event::kStep:
      return FromProto(event.step());
    case pb::Event::kEval:
      return EvalMetrics{event.eval().step(), event.eval().loss(), event.eval().tokens()};
    case pb::Event::kCheckpoint:
      return CheckpointInfo{event.checkpoint().step(), event.checkpoint().name()};
    case pb::Event::kNote:
      return Note{event.note()};
    case pb::Event::kProgress:
      return Progress{event.progress().done(), event.progress().total(), event.progress().what()};
    case pb::Event::kReport:
      return FromProto(event.report());
    case pb::Event::BODY_NOT_SET:
      break;
  }
  return Malformed("job event");
}

void ToProto(const Order& order, pb::Order* out) {
  out->set_job_id(order.job_id);
  out->set_fencing_token(order.fencing_token);
  out->set_job_dir(order.job_dir);
  for (const auto& [dataset, path] : order.dataset_paths) {
    pb::DatasetPath* added = out->add_dataset_paths();
    added->set_dataset(dataset);
    added->set_path(path);
  }
  ToProto(order.spec, out->mutable_spec());
  out->set_heartbeat_ms(order.heartbeat.count());
  out->set_lease_ms(order.lease.count());
}

absl::StatusOr<ToWorker> FromProto(const pb::Order& order) {
  Order out;
  out.job_id = order.job_id();
  out.fencing_token = order.fencing_token();
  out.job_dir = order.job_dir();
  for (const pb::DatasetPath& entry : order.dataset_paths()) {
    out.dataset_paths[entry.dataset()] = entry.path();
  }
  LFM2_RETURN_IF_ERROR(FromProto(order.spec(), out.spec));
  out.heartbeat = std::chrono::milliseconds(order.heartbeat_ms());
  out.lease = std::chrono::milliseconds(order.lease_ms());
  return ToWorker(std::move(out));
}

void ToProto(const WorkerResult& result, pb::Result* out) {
  out->set_status(SerializeStatus(result.status));
  ToProto(result.files, out->mutable_files());
  out->set_stopped(result.stopped);
  out->set_tokenizer_sha256(result.tokenizer_sha256);
  out->set_tokenizer_kind(result.tokenizer_kind);
}

WorkerResult FromProto(const pb::Result& result) {
  return WorkerResult{ParseStatus(result.status()), FromProto(result.files()), result.stopped(),
                      result.tokenizer_sha256(), result.tokenizer_kind()};
}

}  // namespace

std::string EncodeJobSpec(const JobSpec& spec) {
  pb::JobSpec message;
  ToProto(spec, &message);
  return message.SerializeAsString();
}

absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::JobSpec message, Parse<pb::JobSpec>(bytes, "job spec"));
  JobSpec spec;
  LFM2_RETURN_IF_ERROR(FromProto(message, spec));
  return spec;
}

std::string EncodeJobEvent(const JobEvent& event) {
  pb::Event message;
  message.set_seq(event.seq);
  message.set_at_ms(event.at_ms);
  ToProto(event.body, &message);
  return message.SerializeAsString();
}

absl::StatusOr<JobEvent> DecodeJobEvent(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::Event message, Parse<pb::Event>(bytes, "job event"));
  LFM2_ASSIGN_OR_RETURN(JobEventBody body, BodyOf(message));
  return JobEvent{message.seq(), message.at_ms(), std::move(body)};
}

std::string EncodeFiles(const std::vector<ExportedFile>& files) {
  pb::Files message;
  ToProto(files, message.mutable_files());
  return message.SerializeAsString();
}

absl::StatusOr<std::vector<ExportedFile>> DecodeFiles(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::Files message, Parse<pb::Files>(bytes, "file list"));
  return FromProto(message.files());
}

std::string EncodeToWorker(const ToWorker& message) {
  pb::ToWorker out;
  std::visit(Overloaded{
                 [&](const Order& order) { ToProto(order, out.mutable_order()); },
                 [&](const StopRequest&) { out.set_stop(true); },
                 [&](const LeaseGrant& grant) { out.set_lease_token(grant.token); },
             },
             message);
  return out.SerializeAsString();
}

absl::StatusOr<ToWorker> DecodeToWorker(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::ToWorker message, Parse<pb::ToWorker>(bytes, "message"));
  switch (message.body_case()) {
    case pb::ToWorker::kOrder:
      return FromProto(message.order());
    case pb::ToWorker::kStop:
      return ToWorker(StopRequest{});
    case pb::ToWorker::kLeaseToken:
      return ToWorker(LeaseGrant{message.lease_token()});
    case pb::ToWorker::BODY_NOT_SET:
      break;
  }
  return Malformed("message to a worker");
}

std::string EncodeFromWorker(const FromWorker& message) {
  pb::FromWorker out;
  std::visit(Overloaded{
                 [&](const Heartbeat&) { out.set_heartbeat(true); },
                 [&](const JobEventBody& body) { ToProto(body, out.mutable_event()); },
                 [&](const WorkerResult& result) { ToProto(result, out.mutable_result()); },
             },
             message);
  return out.SerializeAsString();
}

absl::StatusOr<FromWorker> DecodeFromWorker(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::FromWorker message, Parse<pb::FromWorker>(bytes, "message"));
  switch (message.body_case()) {
    case pb::FromWorker::kHeartbeat:
      return FromWorker(Heartbeat{});
    case pb::FromWorker::kEvent: {
      LFM2_ASSIGN_OR_RETURN(JobEventBody body, BodyOf(message.event()));
      return FromWorker(std::move(body));
    }
    case pb::FromWorker::kResult:
      return FromWorker(FromProto(message.result()));
    case pb::FromWorker::BODY_NOT_SET:
      break;
  }
  return Malformed("message from a worker");
}

}  // namespace lfm2
