#include "server/torch/parts/torch_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

using ::testing::HasSubstr;

absl::Status Open(const std::string& file) {
  setenv("LFM2_TORCH_LIBRARY", (std::string(LFM2_BINARY_DIR) + "/" + file).c_str(), 1);
  return OpenTorchParts().status();
}

// In one test: what is opened once stays open.
TEST(TorchParts, AreOfTheProgramsOwnBuild) {
  const absl::Status absent = Open("no_such_library.so");
  EXPECT_EQ(DetailsOf(absent).reason, Reason::kUnsupported);
  EXPECT_THAT(std::string(absent.message()), HasSubstr("cannot be opened"));
  const absl::Status other = Open("libother_build_torch_parts.so");
  EXPECT_EQ(DetailsOf(other).reason, Reason::kUnsupported);
  EXPECT_THAT(std::string(other.message()), HasSubstr("is from another build than this program"));
  EXPECT_TRUE(Open("libthis_build_torch_parts.so").ok());
  unsetenv("LFM2_TORCH_LIBRARY");
}

}  // namespace
}  // namespace lfm2
