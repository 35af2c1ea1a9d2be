#include "server/jobs/wire/codec.h"

#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "lfm2/internal/worker.pb.h"
#include "server/jobs/wire/job_messages.h"

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

// An enumeration with an unknown number is malformed.
template <class Plain>
absl::Status Take(std::optional<Plain> value, std::string_view what, Plain& out) {
  if (!value) return Malformed(what);
  out = *value;
  return absl::OkStatus();
}

template <class Message>
absl::StatusOr<Message> Parse(std::string_view bytes, std::string_view what) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed(what);
  return message;
}

template <class Plain, class Message>
void AppendTo(const std::vector<Plain>& from, google::protobuf::RepeatedPtrField<Message>* out) {
  for (const Plain& one : from) *out->Add() = ToProto(one);
}

template <class Message>
auto ListOf(const google::protobuf::RepeatedPtrField<Message>& from) {
  std::vector<decltype(FromProto(from.Get(0)))> out;
  for (const Message& one : from) out.push_back(FromProto(one));
  return out;
}

void Encode(const SourceSpec& source, pb::SourceSpec* out) {
  out->set_kind(static_cast<int32_t>(source.kind));
  out->set_name(source.name);
  out->set_directory(source.directory);
  AppendTo(source.files, out->mutable_files());
}

absl::Status Decode(const pb::SourceSpec& source, SourceSpec& out) {
  if (source.kind() < 0 || source.kind() > static_cast<int>(SourceSpec::Kind::kBytes)) {
    return Malformed("source kind");
  }
  out.kind = static_cast<SourceSpec::Kind>(source.kind());
  out.name = source.name();
  out.directory = source.directory();
  out.files = ListOf(source.files());
  return absl::OkStatus();
}

void Encode(const JobSpec& spec, pb::JobSpec* out) {
  out->set_kind(ToProto(spec.kind));
  out->set_model_name(spec.model_name);
  Encode(spec.source, out->mutable_source());
  Encode(spec.tokenizer, out->mutable_tokenizer());
  *out->mutable_shape() = ToProto(spec.shape);
  out->set_partial(spec.partial);
  out->set_seed(spec.seed);
  *out->mutable_train() = ToProto(spec.train);
  AppendTo(spec.datasets, out->mutable_datasets());
  out->set_export_format(ToProto(spec.export_format));
  for (const auto& [key, value] : spec.labels) {
    pb::Label* label = out->add_labels();
    label->set_key(key);
    label->set_value(value);
  }
}

absl::Status Decode(const pb::JobSpec& spec, JobSpec& out) {
  LFM2_RETURN_IF_ERROR(Take(FromProto(spec.kind()), "job kind", out.kind));
  LFM2_RETURN_IF_ERROR(Take(FromProto(spec.export_format()), "export format", out.export_format));
  LFM2_RETURN_IF_ERROR(Decode(spec.source(), out.source));
  LFM2_RETURN_IF_ERROR(Decode(spec.tokenizer(), out.tokenizer));
  absl::Status fields;
  const auto fault = [&](std::string_view field, const std::string&) { fields = Malformed(field); };
  FromProto(spec.shape(), out.shape, fault);
  FromProto(spec.train(), out.train, fault);
  LFM2_RETURN_IF_ERROR(fields);
  out.model_name = spec.model_name();
  out.partial = spec.partial();
  out.seed = spec.seed();
  out.datasets = ListOf(spec.datasets());
  for (const pb::Label& label : spec.labels()) out.labels[label.key()] = label.value();
  return absl::OkStatus();
}

void Encode(const StateChange& change, pb::StateChange* out) {
  out->set_state(ToProto(change.state));
  out->set_attempt(change.attempt);
  out->set_status(SerializeStatus(change.status));
  out->set_result_version(change.result_version);
  AppendTo(change.files, out->mutable_files());
}

void Encode(const ConversionReport& report, pb::ConversionReport* out) {
  for (const TensorReport& tensor : report.tensors) {
    pb::TensorReport* added = out->add_tensors();
    added->set_name(tensor.name);
    added->set_fate(ToProto(tensor.fate));
    added->set_note(tensor.note);
  }
}

void Encode(const JobEventBody& body, pb::Event* out) {
  std::visit(Overloaded{
                 [&](const StateChange& b) { Encode(b, out->mutable_state()); },
                 [&](const StepMetrics& b) { *out->mutable_step() = ToProto(b); },
                 [&](const EvalMetrics& b) { *out->mutable_eval() = ToProto(b); },
                 [&](const CheckpointInfo& b) { *out->mutable_checkpoint() = ToProto(b); },
                 [&](const Note& b) { out->set_note(b.text); },
                 [&](const Progress& b) { *out->mutable_progress() = ToProto(b); },
                 [&](const ConversionReport& b) { Encode(b, out->mutable_report()); },
             },
             body);
}

absl::StatusOr<JobEventBody> Decode(const pb::StateChange& change) {
  StateChange out;
  LFM2_RETURN_IF_ERROR(Take(FromProto(change.state()), "job state", out.state));
  out.attempt = change.attempt();
  out.status = ParseStatus(change.status());
  out.result_version = change.result_version();
  out.files = ListOf(change.files());
  return out;
}

absl::StatusOr<JobEventBody> Decode(const pb::ConversionReport& report) {
  ConversionReport out;
  for (const pb::TensorReport& tensor : report.tensors()) {
    TensorReport added{tensor.name(), TensorFate::kCopied, tensor.note()};
    LFM2_RETURN_IF_ERROR(Take(FromProto(tensor.fate()), "tensor fate", added.fate));
    out.tensors.push_back(std::move(added));
  }
  return out;
}

absl::StatusOr<JobEventBody> BodyOf(const pb::Event& event) {
  switch (event.body_case()) {
    case pb::Event::kState:
      return Decode(event.state());
    case pb::Event::kStep:
      return FromProto(event.step());
    case pb::Event::kEval:
      return FromProto(event.eval());
    case pb::Event::kCheckpoint:
      return FromProto(event.checkpoint());
    case pb::Event::kNote:
      return Note{event.note()};
    case pb::Event::kProgress:
      return FromProto(event.progress());
    case pb::Event::kReport:
      return Decode(event.report());
    case pb::Event::BODY_NOT_SET:
      break;
  }
  return Malformed("job event");
}

void Encode(const Order& order, pb::Order* out) {
  out->set_job_id(order.job_id);
  out->set_fencing_token(order.fencing_token);
  out->set_job_dir(order.job_dir);
  for (const auto& [dataset, path] : order.dataset_paths) {
    pb::DatasetPath* added = out->add_dataset_paths();
    added->set_dataset(dataset);
    added->set_path(path);
  }
  Encode(order.spec, out->mutable_spec());
  out->set_heartbeat_ms(order.heartbeat.count());
  out->set_lease_ms(order.lease.count());
}

absl::StatusOr<ToWorker> Decode(const pb::Order& order) {
  Order out;
  out.job_id = order.job_id();
  out.fencing_token = order.fencing_token();
  out.job_dir = order.job_dir();
  for (const pb::DatasetPath& entry : order.dataset_paths()) {
    out.dataset_paths[entry.dataset()] = entry.path();
  }
  LFM2_RETURN_IF_ERROR(Decode(order.spec(), out.spec));
  out.heartbeat = std::chrono::milliseconds(order.heartbeat_ms());
  out.lease = std::chrono::milliseconds(order.lease_ms());
  return ToWorker(std::move(out));
}

void Encode(const WorkerResult& result, pb::Result* out) {
  out->set_status(SerializeStatus(result.status));
  AppendTo(result.files, out->mutable_files());
  out->set_stopped(result.stopped);
  out->set_tokenizer_sha256(result.tokenizer_sha256);
  out->set_tokenizer_kind(result.tokenizer_kind);
}

WorkerResult Decode(const pb::Result& result) {
  return WorkerResult{ParseStatus(result.status()), ListOf(result.files()), result.stopped(),
                      result.tokenizer_sha256(), result.tokenizer_kind()};
}

}  // namespace

std::string EncodeJobSpec(const JobSpec& spec) {
  pb::JobSpec message;
  Encode(spec, &message);
  return message.SerializeAsString();
}

absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::JobSpec message, Parse<pb::JobSpec>(bytes, "job spec"));
  JobSpec spec;
  LFM2_RETURN_IF_ERROR(Decode(message, spec));
  return spec;
}

std::string EncodeJobEvent(const JobEvent& event) {
  pb::Event message;
  message.set_seq(event.seq);
  message.set_at_ms(event.at_ms);
  Encode(event.body, &message);
  return message.SerializeAsString();
}

absl::StatusOr<JobEvent> DecodeJobEvent(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::Event message, Parse<pb::Event>(bytes, "job event"));
  LFM2_ASSIGN_OR_RETURN(JobEventBody body, BodyOf(message));
  return JobEvent{message.seq(), message.at_ms(), std::move(body)};
}

std::string EncodeFiles(const std::vector<ExportedFile>& files) {
  pb::Files message;
  AppendTo(files, message.mutable_files());
  return message.SerializeAsString();
}

absl::StatusOr<std::vector<ExportedFile>> DecodeFiles(std::string_view bytes) {
  LFM2_ASSIGN_OR_RETURN(const pb::Files message, Parse<pb::Files>(bytes, "file list"));
  return ListOf(message.files());
}

std::string EncodeToWorker(const ToWorker& message) {
  pb::ToWorker out;
  std::visit(Overloaded{
                 [&](const Order& order) { Encode(order, out.mutable_order()); },
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
      return Decode(message.order());
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
                 [&](const JobEventBody& body) { Encode(body, out.mutable_event()); },
                 [&](const WorkerResult& result) { Encode(result, out.mutable_result()); },
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
      return FromWorker(Decode(message.result()));
    case pb::FromWorker::BODY_NOT_SET:
      break;
  }
  return Malformed("message from a worker");
}

}  // namespace lfm2
