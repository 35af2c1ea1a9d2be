#include "server/store/model_store.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/errors.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

class ModelStoreTest : public testing::Test {
 protected:
  ModelStoreTest() { Reopen(); }

  void Reopen() {
    auto store = ModelStore::Open(root(), directory_.path() / "hf");
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  fs::path root() const { return directory_.path() / "models"; }

  // A complete folder beside the store, as a worker leaves it.
  fs::path Made(const std::string& content) {
    fs::path path = directory_.path() / ("made-" + std::to_string(made_++));
    WriteText(path / "config.json", content);
    return path;
  }
  absl::StatusOr<ModelVersion> Publish(const std::string& name, const std::string& job_id,
                                       const std::string& content = "{}") {
    ModelManifest manifest;
    manifest.job_id = job_id;
    manifest.created_at_ms = 1234;
    manifest.made_from = "hf:org/\"name\"";
    manifest.tokenizer_sha256 = "abc";
    manifest.tokenizer_kind = "bpe";
    return store_->Publish(Made(content), name, manifest);
  }

  TempDirectory directory_;
  std::unique_ptr<ModelStore> store_;
  std::atomic<int> made_{0};
};

Reason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST_F(ModelStoreTest, PublishesAndReadsBackWhatItWasGiven) {
  const auto published = Publish("m", "job-1", "content");
  ASSERT_TRUE(published.ok()) << published.status();
  for (const char* reference : {"m", "m@v1"}) {
    const auto version = store_->Resolve(reference);
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_EQ(version->name, "m");
    EXPECT_EQ(version->version, "v1");
    EXPECT_EQ(version->directory, root() / "m" / "v1");
    EXPECT_EQ(ReadText(version->directory / "config.json"), "content");
    EXPECT_EQ(version->manifest.created_at_ms, 1234);
    EXPECT_EQ(version->manifest.made_from, "hf:org/\"name\"");
    EXPECT_EQ(version->manifest.job_id, "job-1");
    EXPECT_EQ(version->manifest.tokenizer_sha256, "abc");
    EXPECT_EQ(version->manifest.tokenizer_kind, "bpe");
  }
  EXPECT_EQ(ReadText(root() / "m" / "current"), "v1\n");
}

TEST_F(ModelStoreTest, ServesTheNewestVersionAndKeepsTheOlderOnes) {
  ASSERT_TRUE(Publish("m", "job-1", "one").ok());
  ASSERT_TRUE(Publish("m", "job-2", "two").ok());
  EXPECT_EQ(store_->Resolve("m").value().version, "v2");
  EXPECT_EQ(ReadText(store_->Resolve("m@v1").value().directory / "config.json"), "one");
}

TEST_F(ModelStoreTest, OrdersVersionsByNumber) {
  for (int i = 1; i <= 11; ++i) ASSERT_TRUE(Publish("m", "job-" + std::to_string(i)).ok());
  const auto versions = store_->Versions("m").value();
  ASSERT_EQ(versions.size(), 11U);
  EXPECT_EQ(versions[1], "v2");
  EXPECT_EQ(versions[9], "v10");
  EXPECT_EQ(store_->Resolve("m").value().version, "v11");
}

TEST_F(ModelStoreTest, ReturnsTheVersionThatAJobHasMadeAlready) {
  ASSERT_TRUE(Publish("m", "job-1", "one").ok());
  ASSERT_TRUE(Publish("m", "job-2", "two").ok());
  EXPECT_EQ(Publish("m", "job-1", "again").value().version, "v1");
  EXPECT_EQ(store_->Versions("m").value().size(), 2U);
  EXPECT_EQ(store_->Resolve("m").value().version, "v2") << "an older version must not come back";
  EXPECT_EQ(Publish("other", "job-1").value().version, "v1");
}

TEST_F(ModelStoreTest, NeverTakesTwoPublishesWithoutAJobForOne) {
  EXPECT_EQ(Publish("m", "").value().version, "v1");
  EXPECT_EQ(Publish("m", "").value().version, "v2");
}

TEST_F(ModelStoreTest, GivesConcurrentPublishesDifferentVersions) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::atomic<int> failed{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        if (!Publish("m", "job-" + std::to_string(t) + "-" + std::to_string(i)).ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(store_->Versions("m").value().size(), 20U);
  EXPECT_EQ(store_->Resolve("m").value().version, "v20");
}

TEST_F(ModelStoreTest, RefusesWhatIsNoPlainName) {
  for (const char* name : {"", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "a\n"}) {
    EXPECT_EQ(ReasonOf(store_->Resolve(name).status()), Reason::kPathOutsideRoot) << name;
    EXPECT_EQ(ReasonOf(Publish(name, "job").status()), Reason::kPathOutsideRoot) << name;
    EXPECT_EQ(ReasonOf(store_->Versions(name).status()), Reason::kPathOutsideRoot) << name;
  }
  EXPECT_EQ(ReasonOf(store_->Resolve("m@../../x").status()), Reason::kPathOutsideRoot);
  EXPECT_EQ(ReasonOf(store_->Resolve("m@").status()), Reason::kPathOutsideRoot);
}

TEST_F(ModelStoreTest, SaysThatAModelOrVersionIsNotThere) {
  ASSERT_TRUE(Publish("m", "job-1").ok());
  for (const char* reference :
       {"n", "m@v2", "m@v01", "m@v0", "m@1", "m@current", "m@v99999999999"}) {
    const absl::Status status = store_->Resolve(reference).status();
    EXPECT_EQ(ReasonOf(status), Reason::kModelNotFound) << reference << ": " << status;
  }
  EXPECT_EQ(ReasonOf(store_->Versions("n").status()), Reason::kModelNotFound);
  EXPECT_EQ(ReasonOf(store_->Resolve("hf:org/nothing").status()), Reason::kModelNotFound);
}

TEST_F(ModelStoreTest, ResolvesAModelOfTheHuggingFaceCache) {
  const fs::path home = directory_.path() / "hf" / "models--org--name";
  const std::string commit(40, 'a');
  WriteText(home / "refs" / "main", commit);
  WriteText(home / "snapshots" / commit / "config.json", "{}");
  for (const char* reference : {"hf:org/name", "hf:org/name@main"}) {
    const auto version = store_->Resolve(reference);
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_EQ(version->name, "hf:org/name");
    EXPECT_EQ(version->version, commit);
    EXPECT_TRUE(fs::exists(version->directory / "config.json"));
  }
}

TEST_F(ModelStoreTest, ListsTheServedVersionOfEachNameInOrder) {
  ASSERT_TRUE(Publish("b", "job-1").ok());
  ASSERT_TRUE(Publish("a", "job-2").ok());
  ASSERT_TRUE(Publish("a", "job-3").ok());
  WriteText(root() / "stray file", "x");
  const auto list = store_->List().value();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].name + list[0].version, "av2");
  EXPECT_EQ(list[1].name + list[1].version, "bv1");
}

TEST_F(ModelStoreTest, ListsTheOthersWhenOneIsDamaged) {
  ASSERT_TRUE(Publish("a", "job-1").ok());
  ASSERT_TRUE(Publish("b", "job-2").ok());
  for (const char* damage : {"", "{", "[]", "{}", R"({"created_at_ms":"x"})"}) {
    WriteText(root() / "a" / "v1" / "manifest.json", damage);
    EXPECT_EQ(ReasonOf(store_->Resolve("a").status()), Reason::kModelFileInvalid) << damage;
    EXPECT_EQ(store_->List().value().size(), 1U) << damage;
  }
}

TEST_F(ModelStoreTest, RefusesACurrentFileThatNamesNoVersion) {
  ASSERT_TRUE(Publish("a", "job-1").ok());
  WriteText(root() / "a" / "current", "../../etc");
  EXPECT_EQ(ReasonOf(store_->Resolve("a").status()), Reason::kStorageIoError);
}

TEST_F(ModelStoreTest, SaysSoWhenThereIsNothingToPublish) {
  const auto version = store_->Publish(directory_.path() / "absent", "m", {});
  EXPECT_FALSE(version.ok());
  EXPECT_EQ(version.status().message().find(directory_.path().string()), std::string::npos);
  EXPECT_EQ(ReasonOf(store_->Resolve("m").status()), Reason::kModelNotFound);
}

TEST_F(ModelStoreTest, ClearsWhatACrashWhileWritingLeft) {
  ASSERT_TRUE(Publish("m", "job-1").ok());
  WriteText(root() / ".staged-7.tmp" / "model.safetensors", "half");
  WriteText(root() / "m" / ".current.12.0.tmp", "v");
  WriteText(root() / ".keep", "not ours");
  Reopen();
  EXPECT_FALSE(fs::exists(root() / ".staged-7.tmp"));
  EXPECT_FALSE(fs::exists(root() / "m" / ".current.12.0.tmp"));
  EXPECT_TRUE(fs::exists(root() / ".keep"));
  EXPECT_EQ(store_->Resolve("m").value().version, "v1");
}

TEST_F(ModelStoreTest, ServesAFirstVersionWhosePublishWasCutOffBeforeCurrent) {
  ASSERT_TRUE(Publish("m", "job-1").ok());
  fs::remove(root() / "m" / "current");
  EXPECT_EQ(ReasonOf(store_->Resolve("m").status()), Reason::kModelNotFound);
  Reopen();
  EXPECT_EQ(store_->Resolve("m").value().version, "v1");
}

TEST_F(ModelStoreTest, FinishesACutOffPublishWhenTheJobPublishesAgain) {
  ASSERT_TRUE(Publish("m", "job-1").ok());
  ASSERT_TRUE(Publish("m", "job-2").ok());
  WriteText(root() / "m" / "current", "v1\n");  // as it was between the rename and the write
  Reopen();
  EXPECT_EQ(store_->Resolve("m").value().version, "v1");
  ModelManifest manifest;
  manifest.job_id = "job-2";
  // The directory went with the rename.
  EXPECT_EQ(store_->Publish(directory_.path() / "gone", "m", manifest).value().version, "v2");
  EXPECT_EQ(store_->Resolve("m").value().version, "v2");
}

TEST_F(ModelStoreTest, LeavesAnEmptyFolderOfACrashWithoutAVersion) {
  fs::create_directories(root() / "m");
  Reopen();
  EXPECT_TRUE(store_->List().value().empty());
  EXPECT_EQ(Publish("m", "job-1").value().version, "v1");
}

}  // namespace
}  // namespace lfm2
