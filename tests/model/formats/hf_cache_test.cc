#include "model/formats/hf_cache.h"

#include <cstdlib>

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

class HfCache : public ::testing::Test {
 protected:
  HfCache() {
    Spill(repository() / "blobs" / "b1", "{}");
    Spill(repository() / "refs" / "main", "abc123");
    fs::create_directories(snapshot());
    fs::create_symlink("../../blobs/b1", snapshot() / "config.json");
  }
  fs::path root() const { return folder_ / "hub"; }
  fs::path repository() const { return root() / "models--Liquid--tiny"; }
  fs::path snapshot() const { return repository() / "snapshots" / "abc123"; }

  ScratchFolder folder_;
};

TEST_F(HfCache, ResolvesANameThroughItsRef) {
  const auto found = ResolveHfModel(root(), "Liquid/tiny");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->commit, "abc123");
  EXPECT_EQ(found->directory, fs::canonical(snapshot()));
}

TEST_F(HfCache, ResolvesARefAndACommit) {
  EXPECT_TRUE(ResolveHfModel(root(), "Liquid/tiny@main").ok());
  EXPECT_TRUE(ResolveHfModel(root(), "Liquid/tiny@abc123").ok());
  EXPECT_REASON("MODEL_NOT_FOUND", ResolveHfModel(root(), "Liquid/tiny@other").status());
}

TEST_F(HfCache, SaysWhatToRunForAModelThatIsNotThere) {
  const absl::Status status = ResolveHfModel(root(), "Liquid/other").status();
  EXPECT_REASON("MODEL_NOT_FOUND", status);
  EXPECT_SAYS("hf download Liquid/other", status);
  EXPECT_EQ(DetailsOf(status).resource_name, "Liquid/other");
  EXPECT_REASON("MODEL_NOT_FOUND", ResolveHfModel(folder_ / "gone", "Liquid/tiny").status());
}

TEST_F(HfCache, RefusesNamesThatArePaths) {
  for (const char* name : {"", "/", "../x", "a/../b", "a/b/c", "a/", "/b", "a/b@", "a/b@../c",
                           "a/b@refs/pr/1", ".a/b", "a b/c"}) {
    EXPECT_REASON("PATH_OUTSIDE_ROOT", ResolveHfModel(root(), name).status());
  }
}

TEST_F(HfCache, RefusesALinkThatLeadsOutside) {
  Spill(folder_ / "secret", "x");
  fs::create_symlink(folder_ / "secret", snapshot() / "model.safetensors");
  EXPECT_REASON("PATH_OUTSIDE_ROOT", ResolveHfModel(root(), "Liquid/tiny").status());
}

TEST_F(HfCache, RefusesASnapshotAndARefThatLeadOutside) {
  fs::create_directories(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", repository() / "snapshots" / "linked");
  EXPECT_REASON("PATH_OUTSIDE_ROOT", ResolveHfModel(root(), "Liquid/tiny@linked").status());
  Spill(repository() / "refs" / "main", "../../../elsewhere");
  EXPECT_REASON("PATH_OUTSIDE_ROOT", ResolveHfModel(root(), "Liquid/tiny").status());
}

TEST_F(HfCache, NamesAFileWhoseDownloadDidNotEnd) {
  fs::create_symlink("../../blobs/gone", snapshot() / "model.safetensors");
  const absl::Status status = ResolveHfModel(root(), "Liquid/tiny").status();
  EXPECT_REASON("FILE_NOT_FOUND", status);
  EXPECT_SAYS("model.safetensors", status);
}

TEST(DefaultHfCacheRoot, FollowsTheEnvironmentInOrder) {
  setenv("HOME", "/home/u", 1);
  unsetenv("HF_HUB_CACHE");
  unsetenv("HF_HOME");
  EXPECT_EQ(DefaultHfCacheRoot(), "/home/u/.cache/huggingface/hub");
  setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(DefaultHfCacheRoot(), "/hf/hub");
  setenv("HF_HUB_CACHE", "/cache", 1);
  EXPECT_EQ(DefaultHfCacheRoot(), "/cache");
  unsetenv("HF_HUB_CACHE");
  unsetenv("HF_HOME");
}

}  // namespace
}  // namespace lfm2
