#include "server/jobs/queue/uuid.h"

#include <gtest/gtest.h>

#include <string>

namespace lfm2 {
namespace {

TEST(Uuid, CarriesTheTimeAndTheVersion) {
  const std::string id = UuidSequence("").Next(0x0123456789ab);
  EXPECT_TRUE(IsUuid(id));
  EXPECT_EQ(id.substr(0, 15), "01234567-89ab-7");
  EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
}

TEST(Uuid, AscendsWhenManyAreMadeAtOnceAndWhenTheClockStepsBack) {
  UuidSequence sequence("");
  std::string last;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = sequence.Next(i < 5'000 ? 2'000 : 1'000);
    EXPECT_GT(id, last);
    last = id;
  }
  EXPECT_GT(UuidSequence(last).Next(0), last);
}

TEST(Uuid, KnowsOneWhenItSeesOne) {
  EXPECT_TRUE(IsUuid("01234567-89ab-7cde-8f01-23456789abcd"));
  EXPECT_FALSE(IsUuid("01234567-89AB-7cde-8f01-23456789abcd"));
  EXPECT_FALSE(IsUuid("01234567-89ab-7cde-8f01-23456789abc"));
  EXPECT_FALSE(IsUuid("01234567089ab-7cde-8f01-23456789abcd"));
  EXPECT_FALSE(IsUuid(""));
}

}  // namespace
}  // namespace lfm2
