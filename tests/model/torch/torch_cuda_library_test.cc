#include "model/torch/torch_cuda_library.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/errors.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;

class TorchCudaLibrary : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override {
    unsetenv("LFM2_TORCH_LIB_DIR");
    fs::remove_all(folder_);
  }
  const fs::path folder_ = fs::temp_directory_path() / ("lfm2-torch-" + std::to_string(getpid()));
};

// The build's folder is not there in an image: what the process runs with is the way to the rest.
// As there, this program once more, with LibTorch under another path.
TEST_F(TorchCudaLibrary, IsLookedForBesideTheTorchThatThisProcessRunsWith) {
  constexpr char kWanted[] = "LFM2_TEST_TORCH";
  const std::vector<std::string> folders = TorchLibraryFolders();
  ASSERT_FALSE(folders.empty());
  if (const char* wanted = getenv(kWanted)) {
    EXPECT_EQ(folders[0], wanted);
    EXPECT_EQ(folders.back(), LFM2_TORCH_LIB_DIR);
    return;
  }
  fs::create_directory_symlink(fs::path(LFM2_TORCH_LIB_DIR) / "../..", folder_ / "moved");
  const std::string moved = folder_ / "moved/torch/lib";
  const std::string again = std::string(kWanted) + "=" + moved + " LD_LIBRARY_PATH=" + moved +
                            " /proc/" + std::to_string(getpid()) + "/exe --gtest_filter=" +
                            "TorchCudaLibrary.IsLookedForBesideTheTorchThatThisProcessRunsWith";
  EXPECT_EQ(std::system(again.c_str()), 0);
}

TEST_F(TorchCudaLibrary, TheOperatorsFolderComesFirst) {
  const std::vector<std::string> before = TorchLibraryFolders();
  setenv("LFM2_TORCH_LIB_DIR", "/operators", 1);
  std::vector<std::string> folders = TorchLibraryFolders();
  ASSERT_EQ(folders.size(), before.size() + 1);
  EXPECT_EQ(folders[0], "/operators");
  folders.erase(folders.begin());
  EXPECT_EQ(folders, before);
}

TEST_F(TorchCudaLibrary, AFolderWithoutItIsPassedOver) {
  fs::create_symlink(fs::path(LFM2_TORCH_LIB_DIR) / "libc10.so", folder_ / "libtorch_cuda.so");
  const absl::Status status = OpenTorchCuda({"/nowhere", folder_.string()});
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(TorchCudaLibrary, SaysOfEachFolderWhyItIsNotOpened) {
  const absl::Status status = OpenTorchCuda({"/nowhere", "/nor/here"});
  EXPECT_EQ(DetailsOf(status).reason, Reason::kDeviceUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/nowhere/libtorch_cuda.so: cannot open shared object file"),
                    HasSubstr("/nor/here/libtorch_cuda.so: cannot open")));
}

}  // namespace
}  // namespace lfm2
