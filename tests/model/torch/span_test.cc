#include "model/torch/span.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

ModelConfig NoLayers() { return {}; }

TEST(GroupSpans, JoinsNeighboursOfEqualLengthAndLikeState) {
  SequenceState a(NoLayers(), at::kCPU, at::kFloat), b(NoLayers(), at::kCPU, at::kFloat);
  const auto groups =
      GroupSpans({{0, 4, nullptr}, {4, 4, nullptr}, {8, 1, nullptr}, {9, 1, &a}, {10, 1, &b}}, 11);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].count, 2);
  EXPECT_EQ(groups[0].rows(), 8);
  EXPECT_TRUE(groups[1].states.empty());
  EXPECT_EQ(groups[2].begin, 9);
  EXPECT_EQ(groups[2].states, (std::vector<SequenceState*>{&a, &b}));
}

TEST(GroupSpans, RefusesHolesOverlapsEmptySpansAndSharedStates) {
  SequenceState a(NoLayers(), at::kCPU, at::kFloat);
  EXPECT_THROW(GroupSpans({{1, 2, nullptr}}, 3), c10::Error);
  EXPECT_THROW(GroupSpans({{0, 2, nullptr}, {1, 2, nullptr}}, 3), c10::Error);
  EXPECT_THROW(GroupSpans({{0, 2, nullptr}}, 3), c10::Error);
  EXPECT_THROW(GroupSpans({{0, 3, nullptr}}, 2), c10::Error);
  EXPECT_THROW(GroupSpans({{0, 0, nullptr}, {0, 2, nullptr}}, 2), c10::Error);
  EXPECT_THROW(GroupSpans({}, 1), c10::Error);
  EXPECT_THROW(GroupSpans({{0, 1, &a}, {1, 1, &a}}, 2), c10::Error);
}

}  // namespace
}  // namespace lfm2
