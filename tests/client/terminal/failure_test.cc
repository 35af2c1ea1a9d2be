#include "client/terminal/failure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;

struct Streams {
  std::istringstream in;
  std::ostringstream out, err;
  Console console{in, out, err};
};

TEST(Failure, EveryCodeHasItsExitCode) {
  const std::vector<std::pair<Code, int>> expected = {{Code::kOk, 0},
                                                      {Code::kNotFound, 3},
                                                      {Code::kUnauthenticated, 4},
                                                      {Code::kPermissionDenied, 4},
                                                      {Code::kInvalidArgument, 5},
                                                      {Code::kOutOfRange, 5},
                                                      {Code::kUnavailable, 6},
                                                      {Code::kResourceExhausted, 7},
                                                      {Code::kDeadlineExceeded, 8},
                                                      {Code::kAlreadyExists, 9},
                                                      {Code::kAborted, 9},
                                                      {Code::kFailedPrecondition, 9},
                                                      {Code::kInternal, 70},
                                                      {Code::kUnknown, 70},
                                                      {Code::kDataLoss, 70},
                                                      {Code::kUnimplemented, 70}};
  for (const auto& [code, exit_code] : expected) {
    EXPECT_EQ(ExitCodeOf(absl::Status(code, "x")), exit_code) << CodeName(code);
  }
  EXPECT_EQ(ExitCodeOf(FailedResult("x")), 1);
  EXPECT_EQ(ExitCodeOf(UsageError("x")), 2);
  EXPECT_EQ(ExitCodeOf(ConfigError("x")), 78);
  EXPECT_EQ(ExitCodeOf(OutputClosed()), 0);
}

TEST(Failure, EveryReasonOfTheTableHasAnExitCode) {
  for (const ReasonSpec& spec : AllReasons()) {
    const int code = ExitCodeOf(Error(spec.reason, "x"));
    EXPECT_TRUE(code == 1 || (code >= 3 && code <= 9) || code == 70) << spec.name;
  }
}

Failure Detailed() {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("sampling.top_p");
  violation->set_description("is 2, limit 1");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("model");
  resource.set_resource_name("ckpt");
  google::rpc::RequestInfo request;
  request.set_request_id("req-7");
  return FailureOf(
      FromGrpc(DetailedStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", "QUEUE_FULL",
                              {&bad_request, &retry, &resource, &request}),
               "from-trailer"));
}

TEST(Failure, ReadsEveryDetailOfGoogleRpc) {
  const Failure failure = Detailed();
  EXPECT_EQ(failure.exit_code, 7);
  EXPECT_EQ(failure.reason, "QUEUE_FULL");
  EXPECT_EQ(failure.message, "full");
  EXPECT_EQ(failure.fix, SpecOf(Reason::kQueueFull).fix);
  EXPECT_EQ(failure.retry_after_ms, 1500);
  EXPECT_EQ(failure.resource, "model \"ckpt\"");
  EXPECT_EQ(failure.request_id, "req-7");
  ASSERT_EQ(failure.violations.size(), 1u);
  EXPECT_EQ(failure.violations[0].field, "sampling.top_p");
}

TEST(Failure, PrintsReasonMessageFieldsFixAndRequestId) {
  Streams streams;
  const std::string text = RenderFailure(Detailed(), streams.console);
  EXPECT_THAT(text, HasSubstr("lfm2ctl: QUEUE_FULL: full\n"));
  EXPECT_THAT(text, HasSubstr("field: sampling.top_p: is 2, limit 1\n"));
  EXPECT_THAT(text, HasSubstr("retry after: 1500 ms\n"));
  EXPECT_THAT(text, HasSubstr(std::string("fix: ") + SpecOf(Reason::kQueueFull).fix));
  EXPECT_THAT(text, HasSubstr("request id: req-7\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("\x1b[")));
}

TEST(Failure, JsonHasTheSameParts) {
  const Json error = FailureToJson(Detailed())["error"];
  EXPECT_EQ(error["code"], "RESOURCE_EXHAUSTED");
  EXPECT_EQ(error["reason"], "QUEUE_FULL");
  EXPECT_EQ(error["exit_code"], 7);
  EXPECT_EQ(error["violations"][0]["field"], "sampling.top_p");
  EXPECT_EQ(error["request_id"], "req-7");
}

TEST(Failure, AStatusWithoutDetailsIsNotGivenAReasonOfTheTable) {
  const Failure failure =
      FailureOf(FromGrpc({grpc::StatusCode::UNAVAILABLE, "connection refused"}, ""));
  EXPECT_EQ(failure.reason, "UNAVAILABLE");
  EXPECT_THAT(failure.fix, HasSubstr("--server"));
}

TEST(Failure, DetailsThatAreNoProtobufAreIgnored) {
  const Failure failure =
      FailureOf(FromGrpc({grpc::StatusCode::INTERNAL, "x", "\xff\xff\xff"}, "id"));
  EXPECT_EQ(failure.reason, "INTERNAL");
  EXPECT_EQ(failure.request_id, "id");
}

TEST(Failure, APreconditionThatRepeatsTheMessageIsNotPrintedAgain) {
  const std::string message(300, 'm');
  for (const char* subject : {"", "ckpt"}) {
    google::rpc::PreconditionFailure precondition;
    auto* violation = precondition.add_violations();
    violation->set_subject(subject);
    violation->set_description(message.substr(0, 256) + "…");  // as the server cuts it
    google::rpc::Status details;
    details.add_details()->PackFrom(precondition);
    const Failure failure = FailureOf(FromGrpc(
        {grpc::StatusCode::FAILED_PRECONDITION, message, details.SerializeAsString()}, ""));
    EXPECT_TRUE(failure.violations.empty());
    Streams streams;
    EXPECT_THAT(RenderFailure(failure, streams.console), testing::Not(HasSubstr("field:")));
  }
}

TEST(Failure, WhatHasNoSubjectOrNoValueIsPrintedWithoutOne) {
  google::rpc::PreconditionFailure precondition;
  precondition.add_violations()->set_description("another one");
  google::rpc::ErrorInfo info;
  info.set_reason("UNKNOWN_TEMPLATE");
  (*info.mutable_metadata())["sha256"] = "";
  google::rpc::Status details;
  details.add_details()->PackFrom(precondition);
  details.add_details()->PackFrom(info);
  Streams streams;
  const std::string text = RenderFailure(
      FailureOf(
          FromGrpc({grpc::StatusCode::FAILED_PRECONDITION, "m", details.SerializeAsString()}, "")),
      streams.console);
  EXPECT_THAT(text, HasSubstr("  another one\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("field")));
  EXPECT_THAT(text, testing::Not(HasSubstr("sha256")));
}

TEST(Failure, AFullDiskOfThisMachineIsNotTheDaemons) {
  EXPECT_THAT(FailureOf(Error(Reason::kDiskFull, "x")).fix, testing::Not(HasSubstr("data_dir")));
}

TEST(Failure, OwnErrorsKeepTheirDetails) {
  Violations violations;
  violations.Add("n_kv_heads", "is 2, the model has 4");
  const Failure failure = FailureOf(violations.ToStatus(Reason::kFlagContradictsModel));
  EXPECT_EQ(failure.reason, "FLAG_CONTRADICTS_MODEL");
  EXPECT_EQ(failure.exit_code, 5);
  EXPECT_EQ(failure.violations.size(), 1u);
}

}  // namespace
}  // namespace lfm2
