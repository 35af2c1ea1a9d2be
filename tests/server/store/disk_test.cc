#include "server/store/disk.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

TEST(DiskStatus, NamesTheReasonAndTheLastComponentOnly) {
  const auto reason = [](std::errc code) {
    const absl::Status status =
        DiskStatus(std::make_error_code(code), "writing", "/secret/place/file");
    EXPECT_EQ(status.message().find("secret"), std::string::npos);
    EXPECT_NE(status.message().find("\"file\""), std::string::npos);
    return DetailsOf(status).reason;
  };
  EXPECT_EQ(reason(std::errc::no_space_on_device), Reason::kDiskFull);
  EXPECT_EQ(reason(std::errc::file_too_large), Reason::kDiskFull);
  EXPECT_EQ(reason(static_cast<std::errc>(EDQUOT)), Reason::kDiskFull);
  EXPECT_EQ(reason(std::errc::no_such_file_or_directory), Reason::kFileNotFound);
  EXPECT_EQ(reason(std::errc::io_error), Reason::kStorageIoError);
  EXPECT_EQ(reason(std::errc::cross_device_link), Reason::kStorageIoError);
  EXPECT_TRUE(DiskStatus({}, "writing", "file").ok());
}

TEST(PublishDirectory, NeverReplacesADirectoryThatHoldsSomething) {
  TempDirectory directory;
  WriteText(directory.path() / "new" / "file", "new");
  WriteText(directory.path() / "old" / "file", "old");
  EXPECT_FALSE(PublishDirectory(directory.path() / "new", directory.path() / "old").ok());
  EXPECT_EQ(ReadText(directory.path() / "old" / "file"), "old");
}

TEST(RemoveLeftovers, RemovesItsOwnKindOnly) {
  TempDirectory directory;
  for (const char* name : {".a.tmp", "b.tmp", ".c", "d"}) WriteText(directory.path() / name, "x");
  ASSERT_TRUE(RemoveLeftovers(directory.path()).ok());
  EXPECT_EQ(EntriesOf(directory.path()).value(), (std::vector<std::string>{".c", "b.tmp", "d"}));
}

TEST(AsidePathIn, IsDifferentAtEachCallAndALeftoverByName) {
  TempDirectory directory;
  const auto first = AsidePathIn(directory.path()), second = AsidePathIn(directory.path());
  EXPECT_NE(first, second);
  ASSERT_TRUE(MakeDirectory(first).ok());
  ASSERT_TRUE(RemoveLeftovers(directory.path()).ok());
  EXPECT_FALSE(std::filesystem::exists(first));
}

}  // namespace
}  // namespace lfm2
