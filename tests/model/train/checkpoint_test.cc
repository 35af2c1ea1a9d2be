#include "model/train/checkpoint.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "base/aside_directory.h"
#include "base/errors.h"
#include "base/file.h"
#include "model/arch/model_folder.h"
#include "model/torch/weights.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

class CheckpointTest : public ::testing::Test {
 protected:
  absl::Status Write(int64_t step, int64_t token, bool may_publish = true) {
    state_.step = step;
    return WriteCheckpoint(
        dir(), {step, token},
        {learner_->config(), learner_->parameters(), learner_->optimizer_state(), state_},
        [may_publish] { return may_publish; });
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const CheckpointName& name : ListCheckpoints(root_.path())) {
      names.push_back(name.ToString());
    }
    return names;
  }
  const std::filesystem::path& dir() const { return root_.path(); }

  testing::TemporaryDirectory root_;
  std::unique_ptr<Learner> learner_ = testing::MakeLearner(testing::TinyHybrid(), {});
  CheckpointState state_{0, {3, 17}, 0.1, 1.0 / 3.0, "hash"};
};

TEST_F(CheckpointTest, ReadsBackExactlyWhatWasWritten) {
  learner_->AccumulateGradients(testing::RandomBatch(8, 61, 1), 8);
  learner_->Update(0, 1e-2);
  ASSERT_TRUE(Write(5, 2).ok());
  const auto read = ReadCheckpoint(dir(), {5, 2});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->state.step, 5);
  EXPECT_EQ(read->state.cursor, (Cursor{3, 17}));
  EXPECT_EQ(read->state.loss, 0.1);
  EXPECT_EQ(read->state.loss_ema, 1.0 / 3.0);
  EXPECT_EQ(read->state.run_hash, "hash");
  const auto other = testing::MakeLearner(testing::TinyHybrid(), {});
  ASSERT_TRUE(other->Restore(read->weights, read->optimizer_state).ok());
  for (const auto& [name, tensor] : learner_->parameters()) {
    EXPECT_TRUE(at::equal(tensor, other->parameters().at(name))) << name;
  }
  for (const auto& [name, tensor] : learner_->optimizer_state()) {
    EXPECT_TRUE(at::equal(tensor, other->optimizer_state().at(name))) << name;
  }
}

TEST_F(CheckpointTest, IsAModelFolderOfItsOwn) {
  ASSERT_TRUE(Write(5, 2).ok());
  const auto folder = OpenModelFolder(dir() / "ckpt-5-2");
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok());
}

TEST_F(CheckpointTest, AnyBitAnywhereIsFoundByTheManifest) {
  ASSERT_TRUE(Write(5, 2).ok());
  for (const char* file : {"config.json", "model.safetensors", "optimizer.safetensors",
                           "state.json", "manifest.json"}) {
    const auto path = dir() / "ckpt-5-2" / file;
    const std::string good = ReadFile(path, 1 << 24).value();
    for (size_t at : {size_t{0}, good.size() / 2, good.size() - 1}) {
      // The manifest's own last brace is the only byte whose change its reader can tell by syntax
      // alone.
      std::string bent = good;
      bent[at] = static_cast<char>(bent[at] ^ 0x04);
      std::ofstream(path, std::ios::binary) << bent;
      const auto read = ReadCheckpoint(dir(), {5, 2});
      EXPECT_EQ(DetailsOf(read.status()).reason, Reason::kCheckpointCorrupt) << file << " " << at;
    }
    std::ofstream(path, std::ios::binary) << good.substr(0, good.size() - 1);
    EXPECT_FALSE(ReadCheckpoint(dir(), {5, 2}).ok()) << file;
    std::filesystem::remove(path);
    EXPECT_EQ(DetailsOf(ReadCheckpoint(dir(), {5, 2}).status()).reason, Reason::kCheckpointCorrupt);
    std::ofstream(path, std::ios::binary) << good;
    EXPECT_TRUE(ReadCheckpoint(dir(), {5, 2}).ok()) << file;
  }
}

TEST_F(CheckpointTest, ListsByStepThenTokenAndIgnoresOtherNames) {
  for (const auto& [step, token] : {std::pair<int, int>{9, 1}, {10, 1}, {10, 2}, {100, 1}}) {
    ASSERT_TRUE(Write(step, token).ok());
  }
  for (const char* name : {"ckpt-", "ckpt-1", "ckpt-x-1", "ckpt-1-", "ckpt-1-1-1", ".tmp-ckpt-7-1",
                           "ckpt--1-1", "result"}) {
    std::filesystem::create_directories(dir() / name);
  }
  EXPECT_EQ(Names(),
            (std::vector<std::string>{"ckpt-100-1", "ckpt-10-2", "ckpt-10-1", "ckpt-9-1"}));
}

TEST_F(CheckpointTest, FallsBackToTheNewestGoodOneAndNotesEachTornOne) {
  for (int64_t step : {1, 2, 3}) ASSERT_TRUE(Write(step, 1).ok());
  std::filesystem::resize_file(dir() / "ckpt-3-1" / "model.safetensors", 10);
  std::filesystem::remove(dir() / "ckpt-2-1" / "manifest.json");
  std::vector<std::string> notes;
  const auto read =
      ReadNewestCheckpoint(dir(), [&](const std::string& text) { notes.push_back(text); });
  ASSERT_TRUE(read.ok() && read->has_value()) << read.status();
  EXPECT_EQ((*read)->name.ToString(), "ckpt-1-1");
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].find("ckpt-3-1"), std::string::npos);
  EXPECT_EQ(Names(), (std::vector<std::string>{"ckpt-1-1"}));
}

TEST_F(CheckpointTest, IsNotPublishedWithoutTheLease) {
  EXPECT_EQ(DetailsOf(Write(4, 1, false)).reason, Reason::kWrongState);
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(CheckpointTest, RemovingOldOnesKeepsTheOneJustWrittenEvenBesideNewerNames) {
  for (int64_t step : {10, 20, 30}) ASSERT_TRUE(Write(step, 1).ok());
  ASSERT_TRUE(Write(15, 2).ok());
  ASSERT_TRUE(RemoveOldCheckpoints(dir(), {15, 2}, 1).ok());
  EXPECT_EQ(Names(), (std::vector<std::string>{"ckpt-15-2"}));
}

TEST_F(CheckpointTest, LeftoversOfACrashAreCleared) {
  ASSERT_TRUE(Write(1, 1).ok());
  std::filesystem::create_directories(dir() / ".tmp-ckpt-2-1" / "deep");
  ASSERT_TRUE(RemoveAsideDirectories(dir()).ok());
  EXPECT_FALSE(std::filesystem::exists(dir() / ".tmp-ckpt-2-1"));
  EXPECT_EQ(Names().size(), 1u);
}

}  // namespace
}  // namespace lfm2
