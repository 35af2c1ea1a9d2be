#include "model/kernels/machine/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(Isa, TheBestOneRuns) {
  EXPECT_TRUE(CanRun(DetectIsa()));
  EXPECT_TRUE(CanRun(Isa::kPortable));
}

TEST(Isa, NamesAreReadBack) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    const auto named = IsaByName(IsaName(isa));
    if (CanRun(isa)) {
      ASSERT_TRUE(named.ok()) << named.status();
      EXPECT_EQ(*named, isa);
    } else {
      EXPECT_EQ(DetailsOf(named.status()).reason, Reason::kUnsupported);
    }
  }
}

TEST(Isa, RefusesAnUnknownName) {
  const auto named = IsaByName("sse9");
  EXPECT_EQ(DetailsOf(named.status()).reason, Reason::kInvalidArgument);
  EXPECT_NE(named.status().message().find("sse9"), std::string::npos);
}

TEST(Isa, TheEnvironmentChooses) {
  ASSERT_EQ(0, setenv("LFM2_ISA", "portable", 1));
  EXPECT_EQ(*IsaFromEnvironment(), Isa::kPortable);
  ASSERT_EQ(0, setenv("LFM2_ISA", "", 1));
  EXPECT_EQ(*IsaFromEnvironment(), DetectIsa());
  ASSERT_EQ(0, setenv("LFM2_ISA", "best", 1));
  EXPECT_FALSE(IsaFromEnvironment().ok());
  ASSERT_EQ(0, unsetenv("LFM2_ISA"));
  EXPECT_EQ(*IsaFromEnvironment(), DetectIsa());
}

}  // namespace
}  // namespace lfm2
