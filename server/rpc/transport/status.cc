#include "server/rpc/transport/status.h"

#include "base/errors.h"
#include "base/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace lfm2 {
namespace {

constexpr char kDomain[] = "lfm2.v1";
// A peer accepts 8 KiB of metadata. Percent-encoding may triple the message; base64 makes the
// details a third larger.
constexpr size_t kMessageBytes = 512;
constexpr size_t kDetailBytes = 2048;
constexpr size_t kMetadataValueBytes = 256;

// Valid UTF-8 of at most `max_bytes`, as proto3 strings and grpc-message require.
std::string Sendable(std::string_view text, size_t max_bytes) {
  std::string out;
  const bool cut = text.size() > max_bytes;
  AppendReplacingInvalid(text.substr(0, max_bytes), Utf8Replacement::kMaximalSubpart,
                         cut ? Utf8End::kMayContinue : Utf8End::kFinal, out);
  return cut ? out + "…" : out;
}

template <typename Detail>
void Add(google::rpc::Status& out, const Detail& detail) {
  out.add_details()->PackFrom(detail);
}

google::rpc::BadRequest BadRequestOf(const ErrorDetails& details, int64_t& left_out) {
  google::rpc::BadRequest bad;
  size_t bytes = 0;
  for (const FieldViolation& violation : details.violations) {
    google::rpc::BadRequest::FieldViolation out;
    out.set_field(Sendable(violation.field, kMetadataValueBytes));
    out.set_description(Sendable(violation.description, kMessageBytes));
    bytes += out.ByteSizeLong() + 4;
    if (bytes > kDetailBytes) {
      ++left_out;
    } else {
      *bad.add_field_violations() = std::move(out);
    }
  }
  return bad;
}

google::rpc::ErrorInfo ErrorInfoOf(const ErrorDetails& details, const std::string& request_id,
                                   int64_t left_out) {
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(SpecOf(details.reason).name);
  size_t bytes = 0;
  for (const auto& [key, value] : details.metadata) {
    const std::string name = Sendable(key, 64);
    const std::string text = Sendable(value, kMetadataValueBytes);
    bytes += name.size() + text.size();
    if (bytes > kDetailBytes / 2) break;
    (*info.mutable_metadata())[name] = text;
  }
  if (left_out > 0) {
    (*info.mutable_metadata())["violations_left_out"] = std::to_string(left_out);
  }
  (*info.mutable_metadata())["request_id"] = request_id;
  return info;
}

void AddRetryInfo(google::rpc::Status& out, int64_t retry_after_ms) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(retry_after_ms / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(retry_after_ms % 1000) * 1'000'000);
  Add(out, retry);
}

void AddResourceInfo(google::rpc::Status& out, const ErrorDetails& details) {
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(details.resource_type);
  resource.set_resource_name(Sendable(details.resource_name, kMetadataValueBytes));
  Add(out, resource);
}

void AddPreconditionFailure(google::rpc::Status& out, const ErrorDetails& details) {
  google::rpc::PreconditionFailure failure;
  auto* violation = failure.add_violations();
  violation->set_type(SpecOf(details.reason).name);
  violation->set_subject(Sendable(details.resource_name, kMetadataValueBytes));
  violation->set_description(Sendable(out.message(), kMetadataValueBytes));
  Add(out, failure);
}

void ReadDetail(const google::protobuf::Any& any, ErrorDetails& details) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  google::rpc::RetryInfo retry;
  google::rpc::ResourceInfo resource;
  if (any.UnpackTo(&info)) {
    details.reason = ReasonByName(info.reason()).value_or(Reason::kInternal);
    details.metadata = {info.metadata().begin(), info.metadata().end()};
  } else if (any.UnpackTo(&bad)) {
    for (const auto& violation : bad.field_violations()) {
      details.violations.push_back({violation.field(), violation.description()});
    }
  } else if (any.UnpackTo(&retry)) {
    details.retry_after_ms =
        retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1'000'000;
  } else if (any.UnpackTo(&resource)) {
    details.resource_type = resource.resource_type();
    details.resource_name = resource.resource_name();
  }
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status, const std::string& request_id) {
  if (status.ok()) return grpc::Status::OK;
  const ErrorDetails details = DetailsOf(status);
  const absl::StatusCode code =
      status.code() == absl::StatusCode::kUnknown ? absl::StatusCode::kInternal : status.code();
  google::rpc::Status out;
  out.set_code(static_cast<int>(code));
  out.set_message(Sendable(std::string(status.message()), kMessageBytes));
  int64_t left_out = 0;
  const google::rpc::BadRequest bad = BadRequestOf(details, left_out);
  Add(out, ErrorInfoOf(details, request_id, left_out));
  google::rpc::RequestInfo request;
  request.set_request_id(request_id);
  Add(out, request);
  if (bad.field_violations_size() > 0) Add(out, bad);
  if (details.retry_after_ms) AddRetryInfo(out, *details.retry_after_ms);
  if (!details.resource_type.empty()) AddResourceInfo(out, details);
  if (code == absl::StatusCode::kFailedPrecondition) AddPreconditionFailure(out, details);
  return {static_cast<grpc::StatusCode>(code), out.message(), out.SerializeAsString()};
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::Status wire;
  if (status.error_details().empty() || !wire.ParseFromString(status.error_details())) {
    return absl::Status(code, status.error_message());
  }
  ErrorDetails details;
  for (const google::protobuf::Any& any : wire.details()) ReadDetail(any, details);
  absl::Status ours = WithDetails(status.error_message(), details);
  if (ours.code() == code) return ours;
  absl::Status renamed(code, status.error_message());
  ours.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { renamed.SetPayload(url, payload); });
  return renamed;
}

}  // namespace lfm2
