#include "model/cuda/driver.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(NvidiaDriver, OneThatIsTooOldIsRefusedWithTheOneThatIsNeeded) {
  const absl::Status old = CheckNvidiaDriver(12'080);
  EXPECT_EQ(DetailsOf(old).reason, Reason::kDeviceUnavailable);
  EXPECT_NE(old.message().find("12.8"), std::string::npos) << old;
  EXPECT_NE(old.message().find("580"), std::string::npos) << old;
  EXPECT_TRUE(CheckNvidiaDriver(13'000).ok());
  EXPECT_TRUE(CheckNvidiaDriver(14'010).ok());
}

TEST(NvidiaDriver, SaysNoVersionWhereThereIsNone) {
  if (NvidiaDriver() != nullptr) GTEST_SKIP() << "this machine has an NVIDIA driver";
  EXPECT_EQ(NvidiaDriverCuda(), 0);
}

}  // namespace
}  // namespace lfm2
