#include "model/train/trainer.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "base/errors.h"
#include "base/file.h"
#include "model/arch/model_folder.h"
#include "model/export/hf_folder.h"
#include "model/tokenizer/bytes.h"
#include "model/train/checkpoint.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

using testing::TemporaryDirectory;

// What a run told, and when it is to stop.
class FakeReporter : public TrainReporter {
 public:
  void OnStep(const StepMetrics& metrics) override {
    losses.push_back(metrics.loss);
    steps.push_back(metrics);
  }
  void OnEval(const EvalMetrics& metrics) override { evals.push_back(metrics); }
  void OnCheckpoint(const CheckpointInfo& checkpoint) override {
    checkpoints.push_back(checkpoint.name);
  }
  void OnNote(const std::string& text) override { notes += text + "\n"; }
  bool StopRequested() override { return static_cast<int64_t>(losses.size()) == stop_after; }
  bool MayPublish() override { return static_cast<int64_t>(losses.size()) < lease_ends_after; }

  int64_t stop_after = -1;
  int64_t lease_ends_after = 1 << 30;
  std::vector<double> losses;
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evals;
  std::vector<std::string> checkpoints;
  std::string notes;
};

// Sentences of a small grammar: there is something to learn, and nothing to learn by heart.
std::string GrammarText(int64_t sentences) {
  constexpr const char* kWho[] = {"the cat", "a dog", "my bird", "our fish"};
  constexpr const char* kDoes[] = {" sees ", " likes ", " follows ", " hears "};
  std::string text;
  uint64_t state = 42;
  const auto pick = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 60) & 3;
  };
  for (int64_t i = 0; i < sentences; ++i) {
    text += std::string(kWho[pick()]) + kDoes[pick()] + kWho[pick()] + ".\n";
  }
  return text;
}

ModelConfig ByteHybrid(int64_t d) {
  const std::string width = std::to_string(d), inner = std::to_string(2 * d);
  return ParseModelConfig(
             R"({"model_type": "lfm2_ssm_hybrid", "vocab_size": 259, "hidden_size": )" + width +
             R"(, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "intermediate_size": )" +
             inner + R"(, "ssm_state_size": 8,
      "attn_every": 2, "parallel_residual": true, "tie_word_embeddings": true})")
      .value();
}

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteModel(ByteHybrid(32));
    text_ = root_.path() / "text.bin";
    std::ofstream(text_) << GrammarText(400);
  }

  void WriteModel(const ModelConfig& config) {
    model_ = root_.path() / "model";
    std::filesystem::create_directories(model_);
    const auto weights = Weights::Random(config, 1, at::kCPU, at::kFloat).value();
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : weights->tensors()) {
      views.push_back(AsView(name, tensor).value());
    }
    ASSERT_TRUE(WriteHfFolder({config, views, {}}, model_).ok());
  }

  TrainRun Run(const std::string& job) {
    TrainRun run;
    run.spec.steps = 12;
    run.spec.batch_size = 2;
    run.spec.seq_len = 32;
    run.spec.lr = 3e-3;
    run.spec.checkpoint_every = 4;
    run.spec.device = "cpu";
    run.spec.dtype = TrainDtype::kFloat32;
    run.spec.threads = 1;
    run.model_dir = model_;
    run.dataset_files = {text_};
    run.dataset_names = {"text.txt"};
    run.tokenizer = MakeByteTokenizer();
    run.job_dir = root_.path() / job;
    return run;
  }

  std::string Weights32(const std::filesystem::path& folder) {
    return ReadFile(folder / "model.safetensors", 1 << 28).value();
  }

  TemporaryDirectory root_;
  std::filesystem::path model_, text_;
};

TEST_F(TrainerTest, LearnsTextWithinSeconds) {
  TrainRun run = Run("job");
  run.spec.steps = 120;
  run.spec.batch_size = 8;
  run.spec.seq_len = 64;
  run.spec.lr = 1e-2;
  run.spec.warmup_steps = 5;
  run.spec.eval_ratio = 0.1;
  run.spec.checkpoint_every = 1000;
  FakeReporter reporter;
  const auto result = Train(run, reporter);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(reporter.losses.front(), std::log(259.0), 0.5);
  EXPECT_LT(result->final_loss, 0.4 * reporter.losses.front());
  ASSERT_EQ(reporter.evals.size(), 3u);
  EXPECT_LT(reporter.evals.back().loss, 0.4 * reporter.losses.front());
  EXPECT_EQ(result->steps, 120);
  EXPECT_FALSE(result->stopped);
}

TEST_F(TrainerTest, TheResultIsAModelFolderWithTheLastWeights) {
  const TrainRun run = Run("job");
  FakeReporter reporter;
  const auto result = Train(run, reporter);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto folder = OpenModelFolder(result->model_dir);
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok());
  EXPECT_EQ(Weights32(result->model_dir), Weights32(run.job_dir / result->last_checkpoint));
  EXPECT_EQ(result->last_checkpoint, "ckpt-12-1");
}

TEST_F(TrainerTest, ResumingIsBitEqualToNeverHavingStopped) {
  const TrainRun straight = Run("straight");
  FakeReporter whole;
  const auto expected = Train(straight, whole);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (int64_t stop_after : {1, 5, 7, 11}) {
    TrainRun run = Run("stopped" + std::to_string(stop_after));
    FakeReporter first;
    first.stop_after = stop_after;
    const auto stopped = Train(run, first);
    ASSERT_TRUE(stopped.ok()) << stopped.status();
    EXPECT_TRUE(stopped->stopped);
    EXPECT_EQ(stopped->steps, stop_after);
    EXPECT_TRUE(stopped->model_dir.empty());
    run.fencing_token = 2;
    FakeReporter second;
    const auto resumed = Train(run, second);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    std::vector<double> losses = first.losses;
    losses.insert(losses.end(), second.losses.begin(), second.losses.end());
    EXPECT_EQ(losses, whole.losses);
    EXPECT_EQ(Weights32(resumed->model_dir), Weights32(expected->model_dir));
    EXPECT_NE(second.notes.find("found"), std::string::npos) << "tokenized again: " << second.notes;
  }
}

TEST_F(TrainerTest, FallsBackPastATornCheckpointAndEndsTheSame) {
  const TrainRun straight = Run("straight");
  FakeReporter whole;
  const auto expected = Train(straight, whole);
  ASSERT_TRUE(expected.ok()) << expected.status();

  TrainRun run = Run("torn");
  FakeReporter first;
  first.stop_after = 9;
  ASSERT_TRUE(Train(run, first).ok());
  ASSERT_EQ(first.checkpoints.back(), "ckpt-9-1");
  std::filesystem::resize_file(run.job_dir / "ckpt-9-1" / "optimizer.safetensors", 100);
  std::filesystem::create_directories(run.job_dir / ".tmp-ckpt-10-1");
  std::ofstream(run.job_dir / ".tmp-ckpt-10-1" / "model.safetensors") << "half";
  std::ofstream(run.job_dir / "metrics.jsonl", std::ios::app) << "{\"type\": \"st";

  run.fencing_token = 2;
  FakeReporter second;
  const auto resumed = Train(run, second);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_NE(second.notes.find("fell back past ckpt-9-1"), std::string::npos) << second.notes;
  EXPECT_NE(second.notes.find("resumed from ckpt-8-1"), std::string::npos) << second.notes;
  EXPECT_EQ(Weights32(resumed->model_dir), Weights32(expected->model_dir));
  EXPECT_FALSE(std::filesystem::exists(run.job_dir / ".tmp-ckpt-10-1"));
  EXPECT_FALSE(std::filesystem::exists(run.job_dir / "ckpt-9-1"));
}

TEST_F(TrainerTest, KeepsAsManyCheckpointsAsAskedAndTheNewestAlways) {
  TrainRun run = Run("job");
  run.spec.checkpoint_every = 2;
  run.spec.keep_checkpoints = 3;
  FakeReporter reporter;
  ASSERT_TRUE(Train(run, reporter).ok());
  EXPECT_EQ(reporter.checkpoints.size(), 6u);
  std::vector<std::string> names;
  for (const CheckpointName& name : ListCheckpoints(run.job_dir)) names.push_back(name.ToString());
  EXPECT_EQ(names, (std::vector<std::string>{"ckpt-12-1", "ckpt-10-1", "ckpt-8-1"}));
}

TEST_F(TrainerTest, PublishesNothingAfterTheLeaseIsLost) {
  TrainRun run = Run("job");
  FakeReporter reporter;
  reporter.lease_ends_after = 4;  // gone when the first checkpoint is due
  const auto result = Train(run, reporter);
  EXPECT_EQ(DetailsOf(result.status()).reason, Reason::kWrongState) << result.status();
  EXPECT_TRUE(ListCheckpoints(run.job_dir).empty());
  EXPECT_TRUE(reporter.checkpoints.empty());
  EXPECT_FALSE(std::filesystem::exists(run.job_dir / "result"));
}

TEST_F(TrainerTest, StopsWithTheReasonWhenTheLossIsNotANumber) {
  TrainRun run = Run("job");
  run.spec.lr = 10;
  run.spec.clip_norm = 0;
  run.spec.weight_decay = 10;
  run.spec.steps = 2000;
  run.spec.checkpoint_every = 1;
  FakeReporter reporter;
  const auto result = Train(run, reporter);
  ASSERT_EQ(DetailsOf(result.status()).reason, Reason::kTrainingDiverged) << result.status();
  const auto newest = ReadNewestCheckpoint(run.job_dir, [](const std::string&) {});
  ASSERT_TRUE(newest.ok() && newest->has_value());
  EXPECT_EQ((*newest)->state.step, static_cast<int64_t>(reporter.losses.size()));
}

TEST_F(TrainerTest, RefusesATokenizerLargerThanTheModel) {
  ModelConfig config = ByteHybrid(32);
  config.vocab_size = 200;
  WriteModel(config);
  FakeReporter reporter;
  const absl::Status status = Train(Run("job"), reporter).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kTokenizerMismatch);
  EXPECT_EQ(DetailsOf(status).metadata.at("model"), "200");
}

TEST_F(TrainerTest, RefusesACheckpointOfAnotherRun) {
  TrainRun run = Run("job");
  FakeReporter first;
  first.stop_after = 3;
  ASSERT_TRUE(Train(run, first).ok());
  run.spec.lr *= 2;
  FakeReporter second;
  EXPECT_EQ(DetailsOf(Train(run, second).status()).reason, Reason::kWrongState);
}

TEST_F(TrainerTest, ReadsJsonlDocumentsAndSaysWhichAreEmpty) {
  const auto path = root_.path() / "lines";
  std::ofstream(path) << "{\"text\": \"one document here\"}\n{\"text\": \"\"}\n"
                         "{\"text\": \"another document, a little longer than the first\"}\n";
  TrainRun run = Run("job");
  run.spec.steps = 2;
  run.spec.batch_size = 1;
  run.spec.seq_len = 16;
  run.dataset_files = {path};
  run.dataset_names = {"lines.jsonl"};
  FakeReporter reporter;
  const auto result = Train(run, reporter);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NE(reporter.notes.find("2 documents"), std::string::npos) << reporter.notes;
  EXPECT_NE(reporter.notes.find("1 empty documents"), std::string::npos) << reporter.notes;
}

TEST_F(TrainerTest, AFullDiskKeepsThePreviousCheckpoint) {
  TrainRun run = Run("small-disk");
  std::filesystem::create_directories(run.job_dir);
  if (::mount("tmpfs", run.job_dir.c_str(), "tmpfs", 0, "size=640k") != 0) {
    GTEST_SKIP() << "needs the right to mount a small tmpfs";
  }
  run.spec.checkpoint_every = 2;
  run.spec.keep_checkpoints = 100;
  run.spec.steps = 40;
  FakeReporter reporter;
  const absl::Status status = Train(run, reporter).status();
  const std::string last = reporter.checkpoints.empty() ? "" : reporter.checkpoints.back();
  const auto newest = ReadNewestCheckpoint(run.job_dir, [](const std::string&) {});
  const bool readable = newest.ok() && newest->has_value();
  const std::string newest_name = readable ? (*newest)->name.ToString() : "";
  ::umount2(run.job_dir.c_str(), MNT_DETACH);
  EXPECT_EQ(DetailsOf(status).reason, Reason::kCheckpointDiskFull) << status;
  EXPECT_FALSE(last.empty());
  EXPECT_EQ(newest_name, last);
}

TEST_F(TrainerTest, PlansWithTheNumbersThatTheRunThenHas) {
  TrainRun run = Run("job");
  run.spec.eval_ratio = 0.2;
  const auto plan = PlanTraining(run);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->tokens_per_step, 64);
  EXPECT_EQ(plan->parameters, ByteHybrid(32).ParameterCount());
  EXPECT_GT(plan->dataset_tokens, static_cast<int64_t>(GrammarText(400).size()));
  FakeReporter reporter;
  ASSERT_TRUE(Train(run, reporter).ok());
  EXPECT_EQ(reporter.evals.back().tokens, plan->eval_tokens);
  EXPECT_NE(reporter.notes.find("found " + std::to_string(plan->dataset_tokens)),
            std::string::npos);
  uintmax_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(run.job_dir / "ckpt-12-1")) {
    bytes += file.file_size();
  }
  EXPECT_NEAR(static_cast<double>(plan->checkpoint_bytes), static_cast<double>(bytes), 0.1 * bytes);
}

TEST_F(TrainerTest, RefusesADatasetShorterThanOneRow) {
  TrainRun run = Run("job");
  run.spec.seq_len = 100'000;
  run.spec.batch_size = 1;
  const absl::Status status = PlanTraining(run).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kNoSupervisedTokens);
}

}  // namespace
}  // namespace lfm2
