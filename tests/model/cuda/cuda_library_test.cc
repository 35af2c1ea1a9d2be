#include "model/cuda/cuda_library.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/errors.h"
#include "tests/model/cuda/host/host_library.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

const fs::path kLibrary = fs::path(LFM2_BINARY_DIR) / "liblfm2_cuda.so";

TEST(CudaLibrary, SaysThatItIsNotThere) {
  const auto library = OpenCudaLibraryAt("/nowhere/liblfm2_cuda.so");
  EXPECT_EQ(DetailsOf(library.status()).reason, Reason::kUnsupported);
  EXPECT_NE(library.status().message().find("No such file"), std::string::npos) << library.status();
}

TEST(CudaLibrary, RefusesAFileThatIsNoLibraryOrAnotherOne) {
  const auto text = OpenCudaLibraryAt(std::string(LFM2_SOURCE_DIR) + "/README.md");
  EXPECT_NE(text.status().message().find("cannot be opened"), std::string::npos) << text.status();
  const auto other = OpenCudaLibraryAt("libm.so.6");
  EXPECT_NE(other.status().message().find("has no function lfm2_cuda_functions"), std::string::npos)
      << other.status();
}

// Where the build has nvcc: it opens on a machine without a GPU, and says what is missing.
TEST(CudaLibrary, TheRealOneOpensAndKnowsItsVersion) {
  if (!fs::exists(kLibrary)) GTEST_SKIP() << kLibrary << " was not built";
  const auto library = OpenCudaLibraryAt(kLibrary);
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ((*library)->abi, LFM2_CUDA_ABI);
  for (const void* function : {reinterpret_cast<const void*>((*library)->open),
                               reinterpret_cast<const void*>((*library)->gemm),
                               reinterpret_cast<const void*>((*library)->attend),
                               reinterpret_cast<const void*>((*library)->sample)}) {
    EXPECT_NE(function, nullptr);
  }
  const auto context = OpenCudaContext(**library, 12'345);
  ASSERT_FALSE(context.ok());
  EXPECT_EQ(DetailsOf(context.status()).reason, Reason::kGpuFault);
  EXPECT_GT(context.status().message().size(), std::string("opening the GPU: ").size());
}

TEST(CudaLibrary, CodesBecomeErrorsWithTheLibrarysWords) {
  const Lfm2CudaFunctions& f = HostCudaFunctions();
  EXPECT_TRUE(CudaStatus(f, 0, "x").ok());
  const absl::Status memory = CudaStatus(f, kLfm2CudaOutOfMemory, "allocating");
  EXPECT_EQ(DetailsOf(memory).reason, Reason::kGpuOutOfMemory);
  EXPECT_EQ(memory.message(), "allocating: out of memory (code 2)");
  EXPECT_EQ(DetailsOf(CudaStatus(f, 700, "x")).reason, Reason::kGpuFault);
}

TEST(CudaLibrary, ContextsAndBuffersAreGivenBack) {
  {
    const auto context = OpenCudaContext(HostCudaFunctions(), 0);
    ASSERT_TRUE(context.ok());
    auto buffer = CudaBuffer::Make(HostCudaFunctions(), context->get(), 100, CudaPlace::kDevice);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(buffer->bytes(), 100);
    EXPECT_EQ(HostCudaState().bytes, 100);
    EXPECT_EQ(HostCudaState().contexts, 1);
  }
  EXPECT_EQ(HostCudaState().bytes, 0);
  EXPECT_EQ(HostCudaState().contexts, 0);
}

TEST(CudaLibrary, ABufferThatDoesNotFitIsOutOfMemory) {
  const auto context = OpenCudaContext(HostCudaFunctions(), 0);
  HostCudaState().limit = 10;
  const auto buffer = CudaBuffer::Make(HostCudaFunctions(), context->get(), 11, CudaPlace::kHost);
  HostCudaState().limit = HostCuda().limit;
  EXPECT_EQ(DetailsOf(buffer.status()).reason, Reason::kGpuOutOfMemory);
  EXPECT_EQ(OpenCudaContext(HostCudaFunctions(), 3).status().message(),
            "opening the GPU: something on the device (code 101)");
}

TEST(CudaLibrary, AsksForMemoryOnceBeforeASecondTry) {
  const auto context = OpenCudaContext(HostCudaFunctions(), 0);
  const auto make = [&](int64_t limit_then) {
    HostCudaState().limit = 10;
    int asked = 0;
    const auto buffer = CudaBuffer::Make(HostCudaFunctions(), context->get(), 11,
                                         CudaPlace::kDevice, [&asked, limit_then] {
                                           ++asked;
                                           HostCudaState().limit = limit_then;
                                         });
    HostCudaState().limit = HostCuda().limit;
    EXPECT_EQ(asked, 1);
    return buffer.status();
  };
  EXPECT_TRUE(make(11).ok());
  EXPECT_EQ(DetailsOf(make(10)).reason, Reason::kGpuOutOfMemory);
}

}  // namespace
}  // namespace lfm2
