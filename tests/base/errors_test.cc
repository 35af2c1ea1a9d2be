#include "base/errors.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lfm2 {
namespace {

TEST(Errors, TableIsInTheOrderOfTheEnum) {
  int index = 0;
  for (const ReasonSpec& spec : AllReasons()) {
    EXPECT_EQ(static_cast<int>(spec.reason), index++) << spec.name;
    EXPECT_EQ(&SpecOf(spec.reason), &spec);
  }
  EXPECT_EQ(index, static_cast<int>(Reason::kInternal) + 1);
}

TEST(Errors, NamesAreUniqueUpperSnakeOfAtMost63Characters) {
  std::set<std::string> names;
  for (const ReasonSpec& spec : AllReasons()) {
    const std::string name = spec.name;
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_GE(name.size(), 3u);
    EXPECT_LE(name.size(), 63u) << name;
    EXPECT_TRUE(name.front() >= 'A' && name.front() <= 'Z') << name;
    EXPECT_NE(name.back(), '_') << name;
    EXPECT_EQ(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), std::string::npos)
        << name;
    EXPECT_NE(std::string(spec.meaning), "") << name;
    EXPECT_NE(spec.code, absl::StatusCode::kOk) << name;
    ASSERT_TRUE(ReasonByName(name).has_value());
    EXPECT_EQ(*ReasonByName(name), spec.reason);
  }
  EXPECT_FALSE(ReasonByName("NO_SUCH_REASON").has_value());
}

TEST(Errors, AStatusCarriesItsReasonCodeAndMetadata) {
  const absl::Status status =
      Error(Reason::kPromptTooLong, "prompt has 9 tokens, limit 8", {{"limit", "8"}});
  EXPECT_EQ(status.code(), SpecOf(Reason::kPromptTooLong).code);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, Reason::kPromptTooLong);
  EXPECT_EQ(details.metadata.at("limit"), "8");
}

TEST(Errors, AStatusFromElsewhereGetsAReasonOfItsCode) {
  EXPECT_EQ(SpecOf(DetailsOf(absl::NotFoundError("x")).reason).code, absl::StatusCode::kNotFound);
  EXPECT_EQ(DetailsOf(absl::UnknownError("x")).reason, Reason::kInternal);
}

TEST(Errors, EveryDetailSurvivesAProcessBorder) {
  ErrorDetails details;
  details.reason = Reason::kQueueFull;
  details.metadata = {{"a", "1:2:3"}, {"empty", ""}, {"bytes", std::string("\0\n", 2)}};
  details.violations = {{"field", "is wrong"}, {"other", ""}};
  details.retry_after_ms = 1500;
  details.resource_type = "model";
  details.resource_name = "m";
  const absl::Status sent = WithDetails("the queue: full", details);
  const absl::Status received = ParseStatus(SerializeStatus(sent));
  EXPECT_EQ(received, sent);
  const ErrorDetails back = DetailsOf(received);
  EXPECT_EQ(back.reason, Reason::kQueueFull);
  EXPECT_EQ(back.metadata, details.metadata);
  EXPECT_EQ(back.retry_after_ms, 1500);
  EXPECT_EQ(back.resource_type, "model");
  EXPECT_EQ(back.resource_name, "m");
  ASSERT_EQ(back.violations.size(), 2u);
  EXPECT_EQ(back.violations[0].field, "field");
  EXPECT_EQ(back.violations[1].field, "other");
  EXPECT_TRUE(ParseStatus(SerializeStatus(absl::OkStatus())).ok());
}

TEST(Errors, ABrokenSerializedStatusIsAnInternalError) {
  for (const char* text : {"", "x", "1:", "99999999999:3", "1:39:short", ":", "1"}) {
    EXPECT_EQ(DetailsOf(ParseStatus(text)).reason, Reason::kInternal) << text;
  }
}

TEST(Errors, AnnotateKeepsTheDetails) {
  const absl::Status status = Annotate(NotFound(Reason::kModelNotFound, "model", "m"), "loading");
  EXPECT_EQ(status.message(), "loading: no model is named \"m\"");
  EXPECT_EQ(DetailsOf(status).resource_name, "m");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "loading").ok());
}

TEST(Violations, ReportsAllOfThemAtOnce) {
  Violations violations;
  EXPECT_TRUE(violations.empty());
  EXPECT_TRUE(violations.ToStatus().ok());
  violations.Add("top_k", "is -1, must be 0 or more");
  violations.Add("seed", "is missing");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kInvalidArgument);
  EXPECT_EQ(status.message(), "top_k is -1, must be 0 or more; seed is missing");
  EXPECT_EQ(DetailsOf(status).violations.size(), 2u);
  EXPECT_EQ(DetailsOf(violations.ToStatus(Reason::kConfigInvalid)).reason, Reason::kConfigInvalid);
}

}  // namespace
}  // namespace lfm2
