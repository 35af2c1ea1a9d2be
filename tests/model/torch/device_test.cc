#include "model/torch/device.h"

#include <dlfcn.h>
#include <gmock/gmock.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

bool HasDriver() { return dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != nullptr; }

TEST(Device, OpensTheOnesThatAreAlwaysThere) {
  EXPECT_TRUE(OpenDevice("cpu")->is_cpu());
  EXPECT_TRUE(OpenDevice("meta")->is_meta());
  EXPECT_TRUE(OpenDevice("auto").ok());
}

TEST(Device, RefusesNamesItDoesNotKnow) {
  for (const char* name :
       {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999", "CPU"}) {
    const absl::Status status = OpenDevice(name).status();
    EXPECT_EQ(DetailsOf(status).reason, Reason::kInvalidArgument) << name;
  }
}

TEST(Device, SaysWhatIsMissingForCuda) {
  if (HasDriver()) GTEST_SKIP() << "this machine has an NVIDIA driver";
  for (const char* name : {"cuda", "cuda:1"}) {
    const absl::Status status = OpenDevice(name).status();
    EXPECT_EQ(DetailsOf(status).reason, Reason::kDeviceUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("no NVIDIA driver"));
  }
  EXPECT_TRUE(OpenDevice("auto")->is_cpu());
}

TEST(ChooseDtype, ServesAFloat32ModelExactly) {
  EXPECT_EQ(*ChooseDtype("auto", at::kCPU, DType::kF32), at::kFloat);
  EXPECT_EQ(*ChooseDtype("auto", at::kCPU, DType::kF64), at::kFloat);
  EXPECT_EQ(*ChooseDtype("auto", at::kMeta, DType::kBF16), at::kFloat);
  EXPECT_THAT(*ChooseDtype("auto", at::kCPU, DType::kBF16), AnyOf(at::kFloat, at::kBFloat16));
}

TEST(ChooseDtype, TakesWhatIsAskedForAndRefusesOtherNames) {
  EXPECT_EQ(*ChooseDtype("float32", at::kCPU, DType::kBF16), at::kFloat);
  EXPECT_EQ(*ChooseDtype("bfloat16", at::kCPU, DType::kF32), at::kBFloat16);
  EXPECT_EQ(DetailsOf(ChooseDtype("float16", at::kCPU, DType::kF32).status()).reason,
            Reason::kInvalidArgument);
}

}  // namespace
}  // namespace lfm2
