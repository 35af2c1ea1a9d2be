#include "base/byte_budget.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(ByteBudget, GivesUpToItsLimitAndTakesBack) {
  ByteBudget budget(100);
  ByteBudget::Lease first(budget);
  ASSERT_TRUE(first.Grow("it", 60).ok());
  {
    ByteBudget::Lease second(budget);
    ASSERT_TRUE(second.Grow("it", 40).ok());
    EXPECT_EQ(budget.used(), 100);
    EXPECT_FALSE(second.Grow("it", 1).ok());
    EXPECT_EQ(second.bytes(), 40);
  }
  EXPECT_EQ(budget.used(), 60);
  first.ShrinkTo(70);
  EXPECT_EQ(budget.used(), 60);
  first.ShrinkTo(10);
  EXPECT_EQ(budget.used(), 10);
}

TEST(ByteBudget, SaysWhetherALaterTryMayFit) {
  ByteBudget budget(100);
  ByteBudget::Lease first(budget), second(budget);
  ASSERT_TRUE(first.Grow("it", 60).ok());
  const ErrorDetails later = DetailsOf(second.Grow("it", 50));
  EXPECT_EQ(later.reason, Reason::kOutOfMemory);
  EXPECT_TRUE(later.retry_after_ms.has_value());
  const absl::Status never = second.Grow("the report", 101);
  EXPECT_EQ(DetailsOf(never).reason, Reason::kOutOfMemory);
  EXPECT_FALSE(DetailsOf(never).retry_after_ms.has_value());
  EXPECT_EQ(never.message(), "the report needs 101 bytes; the limit is 100");
}

}  // namespace
}  // namespace lfm2
