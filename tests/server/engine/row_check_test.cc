#include "server/engine/row_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(RowCheck, TakesTheIdsOfTheVocabularyOnly) {
  EXPECT_TRUE(CheckTokens({}, 5).ok());
  EXPECT_TRUE(CheckTokens(std::vector<int32_t>{0, 4}, 5).ok());
  for (const int32_t outside : {-1, 5}) {
    const absl::Status status = CheckTokens(std::vector<int32_t>{0, outside}, 5);
    EXPECT_EQ(DetailsOf(status).reason, Reason::kInvalidArgument);
    EXPECT_EQ(status.message(),
              "token id " + std::to_string(outside) + " is not below the vocabulary size 5");
  }
}

TEST(RowCheck, KnowsWhatIsNotFinite) {
  const float largest = std::numeric_limits<float>::max();
  EXPECT_TRUE(AllFinite(std::vector<float>{0, -0.0F, largest, -largest}));
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {infinity, -infinity, std::nanf(""), -std::nanf("")}) {
    EXPECT_FALSE(AllFinite(std::vector<float>{0, odd, 1}));
  }
}

TEST(RowCheck, SamplesAfterTheItemsTextAndItsDraftedTokens) {
  SamplingParams greedy;
  greedy.temperature = 0;
  const std::vector<int32_t> text = {3, 1, 2};
  StepItem item;
  item.sampling = &greedy;
  item.history = std::span(text).first(2);
  const std::vector<float> logits = {0, 1, 5, 2};
  const StepOutput output = SampleRow(logits, item, text);
  ASSERT_TRUE(output.status.ok()) << output.status;
  EXPECT_EQ(output.sample->id, 2);
}

TEST(RowCheck, SaysAtWhichTokenLogitsAreNotFinite) {
  const SamplingParams params;
  const std::vector<int32_t> text = {3, 1, 2};
  StepItem item;
  item.sampling = &params;
  item.history = std::span(text).first(2);
  const std::vector<float> logits = {0, std::nanf("")};
  const StepOutput output = SampleRow(logits, item, text);
  EXPECT_FALSE(output.sample.has_value());
  EXPECT_EQ(DetailsOf(output.status).reason, Reason::kInternal);
  EXPECT_EQ(DetailsOf(output.status).metadata.at("position"), "2");
}

}  // namespace
}  // namespace lfm2
