#include "base/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

TEST(File, WritesDurablyAndReadsBack) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteFileDurably(folder / "a.json", "one").ok());
  ASSERT_TRUE(WriteFileDurably(folder / "a.json", "two").ok());
  EXPECT_EQ(*ReadFile(folder / "a.json", 3), "two");
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files += entry.exists();
  EXPECT_EQ(files, 1u) << "a file written aside was left";
}

TEST(File, RefusesAFileOverTheLimit) {
  const ScratchFolder folder;
  Spill(folder / "a", "1234");
  EXPECT_TRUE(ReadFile(folder / "a", 4).ok());
  EXPECT_REASON("INVALID_ARGUMENT", ReadFile(folder / "a", 3).status());
}

TEST(File, SaysWhatIsMissingWithoutItsPath) {
  const ScratchFolder folder;
  for (const absl::Status& status : {ReadFile(folder / "gone.json", 10).status(),
                                     MappedFile::Open(folder / "gone.json").status(),
                                     Sha256OfFile(folder / "gone.json").status()}) {
    EXPECT_REASON("FILE_NOT_FOUND", status);
    EXPECT_SAYS("gone.json", status);
    EXPECT_EQ(std::string(status.message()).find(folder.path().string()), std::string::npos);
  }
}

TEST(File, RefusesAFolderAndAPipeInThePlaceOfAFile) {
  const ScratchFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_REASON("INVALID_ARGUMENT", ReadFile(folder / "pipe", 10).status());
  EXPECT_REASON("INVALID_ARGUMENT", MappedFile::Open(folder / "pipe").status());
  EXPECT_REASON("INVALID_ARGUMENT", MappedFile::Open(folder.path()).status());
}

TEST(File, MapsWholeAndEmptyFiles) {
  const ScratchFolder folder;
  Spill(folder / "a", "mapped");
  Spill(folder / "empty", "");
  EXPECT_EQ((*MappedFile::Open(folder / "a"))->text(), "mapped");
  EXPECT_EQ((*MappedFile::Open(folder / "empty"))->size(), 0);
}

TEST(File, ReportsAFullDisk) {
  auto writer = FileWriter::Create("/dev/full");
  ASSERT_TRUE(writer.ok());
  EXPECT_REASON("DISK_FULL", (*writer)->Append("x"));
}

TEST(File, AFileOverTheLimitOfItsSizeIsAFullDisk) {
  const ScratchFolder folder;
  const auto before = signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{16, limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  auto writer = FileWriter::Create(folder / "a");
  const absl::Status status =
      writer.ok() ? (*writer)->Append(std::string(32, 'x')) : writer.status();
  setrlimit(RLIMIT_FSIZE, &limit);
  signal(SIGXFSZ, before);
  EXPECT_REASON("DISK_FULL", status);
}

TEST(File, AClosedWriterRefusesMore) {
  const ScratchFolder folder;
  auto writer = FileWriter::Create(folder / "a");
  ASSERT_TRUE((*writer)->Append("x").ok());
  ASSERT_TRUE((*writer)->Close().ok());
  EXPECT_REASON("INTERNAL", (*writer)->Append("y"));
  EXPECT_REASON("INTERNAL", (*writer)->Close());
}

TEST(Sha256, AgreesWithTheStandardsVectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const ScratchFolder folder;
  Spill(folder / "a", "abc");
  EXPECT_EQ(*Sha256OfFile(folder / "a"), Sha256Hex("abc"));
}

TEST(CheckPlainName, TakesNamesAndRefusesPaths) {
  for (const char* name : {"a", "LFM2-1.2B", "model-00001-of-00002.safetensors", "a_b.c"}) {
    EXPECT_TRUE(CheckPlainName("model", name, 64).ok()) << name;
  }
  for (const std::string name :
       {"", ".", "..", ".hidden", "-rf", "a/b", "../a", "a\\b", "a b", "é", "a\n"}) {
    EXPECT_REASON("PATH_OUTSIDE_ROOT", CheckPlainName("model", name, 64));
  }
  EXPECT_TRUE(CheckPlainName("model", std::string(64, 'a'), 64).ok());
  EXPECT_REASON("PATH_OUTSIDE_ROOT", CheckPlainName("model", std::string(65, 'a'), 64));
  EXPECT_REASON("PATH_OUTSIDE_ROOT", CheckPlainName("model", std::string("a\0b", 3), 64));
}

}  // namespace
}  // namespace lfm2
