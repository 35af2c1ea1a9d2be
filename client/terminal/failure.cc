#include "client/terminal/failure.h"

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace lfm2 {
namespace {

constexpr char kGrpcUrl[] = "lfm2ctl/grpc-details";
constexpr char kRequestIdUrl[] = "lfm2ctl/request-id";

std::string PayloadOf(const absl::Status& status, const char* url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  return payload ? std::string(*payload) : std::string();
}

std::string ResourceText(const std::string& type, const std::string& name) {
  return type.empty() ? std::string() : type + " \"" + name + "\"";
}

// The server's description of a precondition is the message, or its beginning followed by "…".
bool Repeats(std::string_view message, std::string_view description) {
  constexpr std::string_view kCut = "…";
  if (description.ends_with(kCut)) description.remove_suffix(kCut.size());
  return message.starts_with(description);
}

void AddDetail(const google::protobuf::Any& any, Failure& failure) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
  google::rpc::ResourceInfo resource;
  google::rpc::RequestInfo request;
  google::rpc::PreconditionFailure precondition;
  if (any.UnpackTo(&info)) {
    failure.reason = info.reason();
    failure.metadata.insert(info.metadata().begin(), info.metadata().end());
  } else if (any.UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      failure.violations.push_back({violation.field(), violation.description()});
    }
  } else if (any.UnpackTo(&retry)) {
    failure.retry_after_ms =
        retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1'000'000;
  } else if (any.UnpackTo(&resource)) {
    failure.resource = ResourceText(resource.resource_type(), resource.resource_name());
  } else if (any.UnpackTo(&request)) {
    failure.request_id = request.request_id();
  } else if (any.UnpackTo(&precondition)) {
    for (const auto& violation : precondition.violations()) {
      if (Repeats(failure.message, violation.description())) continue;
      failure.violations.push_back({violation.subject(), violation.description()});
    }
  }
}

void AddGrpcDetails(const std::string& bytes, Failure& failure) {
  google::rpc::Status details;
  if (!details.ParseFromString(bytes)) return;
  for (const google::protobuf::Any& any : details.details()) AddDetail(any, failure);
}

void AddOwnDetails(const absl::Status& status, Failure& failure) {
  const ErrorDetails details = DetailsOf(status);
  failure.reason = SpecOf(details.reason).name;
  failure.metadata = details.metadata;
  failure.violations = details.violations;
  failure.retry_after_ms = details.retry_after_ms;
  failure.resource = ResourceText(details.resource_type, details.resource_name);
}

std::string FixOf(const Failure& failure, bool from_server) {
  // The fix in the table is about the daemon's disk.
  if (failure.reason == SpecOf(Reason::kDiskFull).name && !from_server)
    return "Free disk space where the output goes, then retry.";
  if (const std::optional<Reason> reason = ReasonByName(failure.reason)) return SpecOf(*reason).fix;
  switch (failure.code) {
    case absl::StatusCode::kUnavailable:
      return "Check that lfm2d runs and that --server is its address.";
    case absl::StatusCode::kDeadlineExceeded:
      return "Allow more time with --timeout.";
    case absl::StatusCode::kUnimplemented:
      return "The server has another version: compare `lfm2ctl version` with `lfm2d --version`.";
    case absl::StatusCode::kResourceExhausted:
      return "Send less, or retry later. A message may have 4 MiB.";
    default:
      return "";
  }
}

}  // namespace

const char* CodeName(absl::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const size_t index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "UNKNOWN";
}

absl::Status FromGrpc(const grpc::Status& status, std::string_view request_id) {
  if (status.ok()) return absl::OkStatus();
  absl::Status converted(static_cast<absl::StatusCode>(status.error_code()),
                         status.error_message());
  converted.SetPayload(kGrpcUrl, absl::Cord(status.error_details()));
  if (!request_id.empty()) converted.SetPayload(kRequestIdUrl, absl::Cord(std::string(request_id)));
  return converted;
}

Failure FailureOf(const absl::Status& status) {
  Failure failure;
  failure.code = status.code();
  failure.exit_code = ExitCodeOf(status);
  failure.message = std::string(status.message());
  failure.reason = CodeName(status.code());
  failure.request_id = PayloadOf(status, kRequestIdUrl);
  const bool from_server = status.GetPayload(kGrpcUrl).has_value();
  if (from_server) {
    AddGrpcDetails(PayloadOf(status, kGrpcUrl), failure);
  } else if (!OwnExitCode(status).has_value()) {
    AddOwnDetails(status, failure);
  } else if (failure.exit_code == kExitUsage) {
    failure.reason = "USAGE";
  } else if (failure.exit_code == kExitConfig) {
    failure.reason = "CONFIG";
  } else {
    failure.reason = "FAILED_RESULT";
  }
  if (const auto it = failure.metadata.find("request_id"); it != failure.metadata.end()) {
    if (failure.request_id.empty()) failure.request_id = it->second;
    failure.metadata.erase(it);
  }
  failure.fix = FixOf(failure, from_server);
  return failure;
}

std::string RenderFailure(const Failure& failure, const Console& console) {
  const bool color = console.color && console.err_is_terminal;
  std::string text = color ? "\x1b[1;31mlfm2ctl:\x1b[0m " : "lfm2ctl: ";
  text += failure.reason + ": " + failure.message + "\n";
  for (const FieldViolation& violation : failure.violations) {
    const std::string field = violation.field.empty() ? "" : "field: " + violation.field + ": ";
    text += "  " + field + violation.description + "\n";
  }
  if (!failure.resource.empty()) text += "  resource: " + failure.resource + "\n";
  for (const auto& [key, value] : failure.metadata) {
    if (value.empty()) continue;
    text.append("  ").append(key).append(": ").append(value).append("\n");
  }
  if (failure.retry_after_ms) {
    text += "  retry after: " + std::to_string(*failure.retry_after_ms) + " ms\n";
  }
  if (!failure.fix.empty()) text += "  fix: " + failure.fix + "\n";
  if (!failure.request_id.empty()) text += "  request id: " + failure.request_id + "\n";
  return text;
}

Json FailureToJson(const Failure& failure) {
  Json error = {{"code", CodeName(failure.code)},
                {"reason", failure.reason},
                {"message", failure.message},
                {"exit_code", failure.exit_code}};
  Json violations = Json::array();
  for (const FieldViolation& violation : failure.violations) {
    violations.push_back({{"field", violation.field}, {"description", violation.description}});
  }
  error["violations"] = std::move(violations);
  error["metadata"] = failure.metadata;
  error["fix"] = failure.fix;
  if (!failure.resource.empty()) error["resource"] = failure.resource;
  if (failure.retry_after_ms) error["retry_after_ms"] = *failure.retry_after_ms;
  if (!failure.request_id.empty()) error["request_id"] = failure.request_id;
  return {{"error", std::move(error)}};
}

}  // namespace lfm2
