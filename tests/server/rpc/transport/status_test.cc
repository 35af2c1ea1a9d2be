#include "server/rpc/transport/status.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace lfm2 {
namespace {

TEST(Status, SendsEveryReasonWithItsCodeAndBack) {
  for (const ReasonSpec& spec : AllReasons()) {
    const absl::Status status = Error(spec.reason, "what", {{"key", "value"}});
    const grpc::Status wire = ToGrpcStatus(status, "id-1");
    EXPECT_EQ(static_cast<int>(wire.error_code()), static_cast<int>(spec.code)) << spec.name;
    const absl::Status back = FromGrpcStatus(wire);
    EXPECT_EQ(back.code(), status.code());
    EXPECT_EQ(DetailsOf(back).reason, spec.reason) << spec.name;
    EXPECT_EQ(DetailsOf(back).metadata.at("key"), "value");
    EXPECT_EQ(DetailsOf(back).metadata.at("request_id"), "id-1");
  }
}

TEST(Status, NeverSendsUnknown) {
  const grpc::Status wire = ToGrpcStatus(absl::UnknownError("odd"), "id");
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(DetailsOf(FromGrpcStatus(wire)).reason, Reason::kInternal);
}

TEST(Status, KeepsRetryResourceAndViolations) {
  ErrorDetails details;
  details.reason = Reason::kQueueFull;
  details.retry_after_ms = 1500;
  details.resource_type = "model";
  details.resource_name = "m";
  details.violations = {{"a", "is 1"}, {"b", "is 2"}};
  const ErrorDetails back =
      DetailsOf(FromGrpcStatus(ToGrpcStatus(WithDetails("full", details), "id")));
  EXPECT_EQ(back.retry_after_ms, 1500);
  EXPECT_EQ(back.resource_name, "m");
  ASSERT_EQ(back.violations.size(), 2U);
  EXPECT_EQ(back.violations[1].field, "b");
}

TEST(Status, FitsTheMetadataOfAPeerHoweverMuchIsWrong) {
  Violations violations;
  for (int i = 0; i < 2000; ++i) {
    violations.Add("field[" + std::to_string(i) + "]", std::string(100, 'x'));
  }
  const grpc::Status wire = ToGrpcStatus(violations.ToStatus(), "id");
  EXPECT_LT(wire.error_details().size() * 4 / 3 + wire.error_message().size() * 3, 7500U);
  const ErrorDetails back = DetailsOf(FromGrpcStatus(wire));
  EXPECT_EQ(std::to_string(2000 - back.violations.size()), back.metadata.at("violations_left_out"));
}

TEST(Status, ReplacesBytesThatAreNotUtf8) {
  const grpc::Status wire = ToGrpcStatus(Error(Reason::kInternal, "a\xff", {{"k", "\xc3"}}), "id");
  google::rpc::Status parsed;
  ASSERT_TRUE(parsed.ParseFromString(wire.error_details()));
  EXPECT_EQ(wire.error_message(), "a\xEF\xBF\xBD");
}

TEST(Status, SaysWhichPreconditionFailed) {
  const grpc::Status wire = ToGrpcStatus(Error(Reason::kWrongState, "it has ended"), "id");
  google::rpc::Status parsed;
  ASSERT_TRUE(parsed.ParseFromString(wire.error_details()));
  google::rpc::PreconditionFailure failure;
  bool found = false;
  for (const auto& any : parsed.details()) found = found || any.UnpackTo(&failure);
  ASSERT_TRUE(found);
  EXPECT_EQ(failure.violations(0).type(), "WRONG_STATE");
}

}  // namespace
}  // namespace lfm2
