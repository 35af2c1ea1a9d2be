#include "server/store/dataset_store.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/errors.h"
#include "tests/fakes/fake_clock.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

class DatasetStoreTest : public testing::Test {
 protected:
  DatasetStoreTest() {
    limits_.dataset_bytes = 10;
    Reopen();
  }
  void Reopen() {
    auto store = DatasetStore::Open(root(), limits_, clock_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  fs::path root() const { return directory_.path() / "datasets"; }

  absl::StatusOr<DatasetInfo> Upload(const std::string& name, const std::string& bytes,
                                     const std::string& sha256 = "") {
    auto upload = store_->Begin(name);
    if (!upload.ok()) return upload.status();
    for (const char byte : bytes) {
      if (auto status = (*upload)->Append({&byte, 1}); !status.ok()) return status;
    }
    return (*upload)->Commit(sha256);
  }
  int EntriesIn(const fs::path& path) const {
    return static_cast<int>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }

  TempDirectory directory_;
  Limits limits_;
  FakeClock clock_;
  std::unique_ptr<DatasetStore> store_;
};

Reason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST_F(DatasetStoreTest, KeepsAnUploadUnderItsHash) {
  const auto info = Upload("a.jsonl", "hello");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->id, "sha256:" + Sha256Hex("hello"));
  EXPECT_EQ(info->name, "a.jsonl");
  EXPECT_EQ(info->bytes, 5);
  EXPECT_EQ(info->created_at_ms, clock_.UnixMillis());
  EXPECT_FALSE(info->existed);
  Reopen();
  const auto found = store_->Get(info->id);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->name, "a.jsonl");
  EXPECT_EQ(found->bytes, 5);
  EXPECT_EQ(ReadText(store_->FileOf(info->id)), "hello");
}

TEST_F(DatasetStoreTest, KeepsEqualBytesOnceAndSaysSo) {
  ASSERT_TRUE(Upload("first", "hello").ok());
  clock_.Advance(std::chrono::milliseconds(5));
  const auto again = Upload("second", "hello");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->name, "first");
  EXPECT_EQ(EntriesIn(root()), 1);
}

TEST_F(DatasetStoreTest, KeepsEqualBytesOnceWhenManyUploadThemAtOnce) {
  std::vector<std::thread> threads;
  threads.reserve(8);
  std::atomic<int> existed{0}, fresh{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto info = Upload("x", "same");
      if (info.ok()) ++(info->existed ? existed : fresh);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fresh, 1);
  EXPECT_EQ(existed, 7);
  EXPECT_EQ(EntriesIn(root()), 1);
}

TEST_F(DatasetStoreTest, ChecksTheAnnouncedHash) {
  const std::string right = Sha256Hex("hello");
  EXPECT_TRUE(Upload("a", "hello", right).ok());
  EXPECT_TRUE(Upload("a", "hello", "sha256:" + right).ok());
  const absl::Status status = Upload("a", "hallo", right).status();
  EXPECT_EQ(ReasonOf(status), Reason::kDatasetHashMismatch);
  EXPECT_EQ(DetailsOf(status).metadata.at("expected"), right);
  EXPECT_EQ(DetailsOf(status).metadata.at("actual"), Sha256Hex("hallo"));
  EXPECT_EQ(EntriesIn(root()), 1);
}

TEST_F(DatasetStoreTest, TakesAsManyBytesAsTheLimitAndNotOneMore) {
  EXPECT_TRUE(Upload("a", "0123456789").ok());
  EXPECT_EQ(ReasonOf(Upload("a", "0123456789a").status()), Reason::kMessageTooLarge);
  auto upload = store_->Begin("a").value();
  EXPECT_EQ(ReasonOf(upload->Append("0123456789a")), Reason::kMessageTooLarge);
  EXPECT_EQ(ReasonOf(upload->Append("0")), Reason::kWrongState);
  EXPECT_EQ(ReasonOf(upload->Commit("").status()), Reason::kWrongState);
}

TEST_F(DatasetStoreTest, LeavesNothingOfAnUploadThatIsNotCommitted) {
  {
    auto upload = store_->Begin("a").value();
    ASSERT_TRUE(upload->Append("hello").ok());
    EXPECT_EQ(EntriesIn(root()), 1);
  }
  EXPECT_EQ(EntriesIn(root()), 0);
}

TEST_F(DatasetStoreTest, CommitsOnce) {
  auto upload = store_->Begin("a").value();
  ASSERT_TRUE(upload->Append("hello").ok());
  ASSERT_TRUE(upload->Commit("").ok());
  EXPECT_EQ(ReasonOf(upload->Commit("").status()), Reason::kWrongState);
  EXPECT_EQ(ReasonOf(upload->Append("x")), Reason::kWrongState);
  upload.reset();
  EXPECT_TRUE(store_->Get("sha256:" + Sha256Hex("hello")).ok());
}

TEST_F(DatasetStoreTest, ClearsWhatACrashLeftAndKeepsTheRest) {
  const auto info = Upload("a", "hello").value();
  WriteText(root() / ".aside-1-0.tmp" / "data", "half");
  Reopen();
  EXPECT_EQ(EntriesIn(root()), 1);
  EXPECT_TRUE(store_->Get(info.id).ok());
}

TEST_F(DatasetStoreTest, RefusesNamesThatAreNotPlain) {
  for (const char* name : {"", "../x", "a/b", ".x"}) {
    EXPECT_EQ(ReasonOf(store_->Begin(name).status()), Reason::kPathOutsideRoot) << name;
  }
}

TEST_F(DatasetStoreTest, SaysThatADatasetIsNotThere) {
  for (const std::string& id :
       {std::string("sha256:") + std::string(64, 'a'), std::string(64, 'a'),
        std::string("sha256:../x"), std::string("sha256:") + std::string(64, 'A'), std::string()}) {
    EXPECT_EQ(ReasonOf(store_->Get(id).status()), Reason::kDatasetNotFound) << id;
  }
  EXPECT_TRUE(store_->FileOf("../x").empty());
}

TEST_F(DatasetStoreTest, ListsNewestFirstAndWithoutDamagedOnes) {
  std::vector<std::string> ids;
  for (const char* bytes : {"one", "two", "three"}) {
    ids.push_back(Upload("a", bytes).value().id);
    clock_.Advance(std::chrono::milliseconds(1));
  }
  const auto list = store_->List().value();
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].id, ids[2]);
  EXPECT_EQ(list[2].id, ids[0]);
  fs::permissions(store_->FileOf(ids[1]), fs::perms::owner_all);
  WriteText(store_->FileOf(ids[1]), "two and more");
  EXPECT_EQ(ReasonOf(store_->Get(ids[1]).status()), Reason::kStorageIoError);
  WriteText(store_->FileOf(ids[0]).parent_path() / "meta.json", "{");
  EXPECT_EQ(ReasonOf(store_->Get(ids[0]).status()), Reason::kStorageIoError);
  EXPECT_EQ(store_->List().value().size(), 1U);
}

TEST_F(DatasetStoreTest, ProtectsTheBytesFromWriting) {
  const auto info = Upload("a", "hello").value();
  const auto mode = fs::status(store_->FileOf(info.id)).permissions();
  EXPECT_EQ(mode & (fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write),
            fs::perms::none);
}

}  // namespace
}  // namespace lfm2
