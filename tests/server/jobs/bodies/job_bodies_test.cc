// Jobs through the real lfm2-worker: the queue, the process, the model code.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <sstream>

#include "model/arch/model_folder.h"
#include "model/tokenizer/load_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "server/jobs/bodies/bodies.h"
#include "tests/server/jobs/queue/queue_fixture.h"

namespace lfm2 {
namespace {

using ::testing::HasSubstr;

class JobBodiesTest : public QueueFixture {
 protected:
  JobBodiesTest() {
    options.worker_program = std::filesystem::path(LFM2_BINARY_DIR) / "lfm2-worker";
    options.crashes_to_quarantine = 1;  // a crash here is a fault, not a scene
  }

  std::string Upload(const std::string& name, const std::string& text) {
    auto upload = datasets->Begin(name).value();
    EXPECT_TRUE(upload->Append(text).ok());
    return upload->Commit("")->id;
  }

  static std::string Text() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i) + " of the text\n";
    return text;
  }

  static ModelShape Tiny() {
    ModelShape shape;
    shape.architecture = Architecture::kHybrid;
    shape.hidden_size = 16;
    shape.num_layers = 2;
    shape.num_heads = 2;
    shape.num_kv_heads = 1;
    shape.intermediate_size = 32;
    shape.ssm_state_size = 4;
    shape.attn_every = 2;
    return shape;
  }

  JobSpec TrainSpecOf(int64_t steps) {
    JobSpec spec;
    spec.kind = JobKind::kTrain;
    spec.model_name = "trained";
    spec.shape = Tiny();
    spec.train.steps = steps;
    spec.train.batch_size = 2;
    spec.train.seq_len = 16;
    spec.train.checkpoint_every = 5;
    spec.train.device = "cpu";
    spec.train.threads = 1;
    spec.datasets = {{"t.txt", Upload("t.txt", Text())}};
    return spec;
  }

  Job Run(const JobSpec& spec) {
    const absl::StatusOr<Job> job = queue->Submit("me", "", spec);
    EXPECT_TRUE(job.ok()) << job.status();
    return AwaitEnd(job->id);
  }

  WorkFolders Folders() const {
    return {(options.data_dir / "datasets").string(), (options.data_dir / "scratch").string()};
  }

  absl::StatusOr<TrainPlan> Plan(const JobSpec& spec, PlanDepth depth) {
    return PlanTrainJob(spec, depth, Folders(), {});
  }

  static SourceSpec Folder(const std::filesystem::path& directory, const std::string& name) {
    return {SourceSpec::Kind::kFolder, name, directory.string(), {}};
  }

  // Of this process: the workers.
  static std::vector<pid_t> Children() {
    std::vector<pid_t> pids;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string stat = ReadText(entry.path() / "stat");
      const size_t end = stat.rfind(')');
      if (end == std::string::npos) continue;
      std::istringstream rest(stat.substr(end + 1));
      char state = 0;
      pid_t parent = 0;
      rest >> state >> parent;
      if (parent == getpid()) pids.push_back(std::stoi(name));
    }
    return pids;
  }

  const std::filesystem::path goldens = LFM2_GOLDENS_DIR;
};

TEST_F(JobBodiesTest, TrainsAFreshModelOnBytesAndPublishesItWhole) {
  Open();
  const Job job = Run(TrainSpecOf(12));
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.step, 12);
  const ModelVersion made = models->Resolve("trained").value();
  EXPECT_EQ(made.manifest.tokenizer_kind, "bytes");
  const ModelFolder folder = OpenModelFolder(made.directory).value();
  EXPECT_EQ(folder.config->vocab_size, 259);
  EXPECT_EQ(folder.config->eos_token_id, 258);
  EXPECT_TRUE(CheckWeights(*folder.config, folder.weights).ok());
  EXPECT_EQ(LoadTokenizer(made.directory).value()->kind(), "bytes");
  EXPECT_TRUE(Eventually([&] { return !std::filesystem::exists(JobDirectory(job.id) / "init"); }));
}

TEST_F(JobBodiesTest, GoesOnFromItsCheckpointWhenTheWorkerIsKilled) {
  options.crashes_to_quarantine = 3;
  Open();
  JobSpec spec = TrainSpecOf(60);
  const std::string id = queue->Submit("me", "", spec)->id;
  ASSERT_TRUE(Eventually([&] { return !Get(id).checkpoint.empty(); }));
  for (const pid_t pid : Children()) kill(pid, SIGKILL);
  const Job job = AwaitEnd(id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  ExpectNumberedWithoutGap(id);
  if (job.attempt > 1) {
    bool resumed = false;
    for (const JobEvent& event : Events(id)) {
      const auto* note = std::get_if<Note>(&event.body);
      resumed =
          resumed || (note != nullptr && note->text.find("resumed from") != std::string::npos);
    }
    EXPECT_TRUE(resumed);
  }
}

TEST_F(JobBodiesTest, CancelledTrainingKeepsACheckpoint) {
  Open();
  JobSpec spec = TrainSpecOf(1'000'000);
  const std::string id = queue->Submit("me", "", spec)->id;
  AwaitStep(id, 3);
  ASSERT_TRUE(queue->Cancel(id).ok());
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kCancelled);
  EXPECT_TRUE(std::filesystem::is_directory(JobDirectory(id) / job.checkpoint));
}

TEST_F(JobBodiesTest, MakesAModelOfAStoredOneAndExportsItBack) {
  Open();
  JobSpec init;
  init.kind = JobKind::kInit;
  init.model_name = "copy";
  init.source = Folder(goldens / "lfm2-tiny", "golden");
  const Job made = Run(init);
  ASSERT_EQ(made.state, JobState::kSucceeded) << made.error;
  const ModelVersion copy = models->Resolve("copy").value();
  EXPECT_EQ(copy.manifest.made_from, "golden");
  EXPECT_EQ(copy.manifest.tokenizer_sha256, LoadTokenizer(goldens / "lfm2-tiny").value()->sha256());
  JobSpec out;
  out.kind = JobKind::kExport;
  out.model_name = "copy";
  out.source = Folder(copy.directory, "copy@v1");
  const Job exported = Run(out);
  ASSERT_EQ(exported.state, JobState::kSucceeded) << exported.error;
  ASSERT_EQ(exported.files.size(), 2u);
  const std::filesystem::path files_dir = queue->ExportDirectory(exported.id).value();
  EXPECT_THAT(ReadText(files_dir / "model.json"), HasSubstr("\"version\": \"v1\""));
  EXPECT_THAT(ReadText(files_dir / "model.json"), HasSubstr(copy.manifest.tokenizer_sha256));
  // The export as an upload gives the same probes as the model.
  const std::vector<int32_t> tokens = {1, 2, 3};
  SourceSpec files{SourceSpec::Kind::kFiles,
                   "model.npz",
                   "",
                   {{"model.npz", Upload("model.npz", ReadText(files_dir / "model.npz"))},
                    {"model.json", Upload("model.json", ReadText(files_dir / "model.json"))}}};
  const ParityReport a = ProbeSource(files, tokens, Folders(), {}).value();
  const ParityReport b =
      ProbeSource(Folder(goldens / "lfm2-tiny", "golden"), tokens, Folders(), {}).value();
  EXPECT_FALSE(CompareReports(a, b, 0).first_difference.has_value());
  EXPECT_TRUE(std::filesystem::is_empty(Folders().scratch));
}

TEST_F(JobBodiesTest, TrainsAStoredModelWithItsOwnTokenizer) {
  Open();
  JobSpec spec = TrainSpecOf(2);
  spec.shape = {};
  spec.source = Folder(goldens / "lfm2-tiny", "golden");
  const Job job = Run(spec);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  for (const JobEvent& event : Events(job.id))
    EXPECT_FALSE(std::holds_alternative<ConversionReport>(event.body));
  EXPECT_EQ(models->Resolve("trained")->manifest.tokenizer_sha256,
            LoadTokenizer(goldens / "lfm2-tiny").value()->sha256());
}

TEST_F(JobBodiesTest, RefusesAnotherTokenizerThanTheModels) {
  Open();
  JobSpec spec = TrainSpecOf(2);
  spec.shape = {};
  spec.source = Folder(goldens / "lfm2-tiny", "golden");
  spec.tokenizer = {SourceSpec::Kind::kBytes, "bytes", "", {}};
  for (const PlanDepth depth : {PlanDepth::kRefusalsOnly, PlanDepth::kFull}) {
    const absl::Status status = Plan(spec, depth).status();
    EXPECT_EQ(DetailsOf(status).reason, Reason::kTokenizerMismatch) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("golden"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("bytes"));
  }
  const Job job = Run(spec);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(DetailsOf(job.error).reason, Reason::kTokenizerMismatch);
}

TEST_F(JobBodiesTest, RefusesBeforeTheJobWhatTheJobWouldRefuse) {
  Open();
  JobSpec spec = TrainSpecOf(2);
  spec.shape.vocab_size = 100;
  EXPECT_EQ(DetailsOf(Plan(spec, PlanDepth::kRefusalsOnly).status()).reason,
            Reason::kTokenizerMismatch);
  spec = TrainSpecOf(2);
  spec.datasets = {{"t.txt", Upload("t.txt", "abc")}};
  EXPECT_EQ(DetailsOf(Plan(spec, PlanDepth::kRefusalsOnly).status()).reason,
            Reason::kNoSupervisedTokens);
  spec.datasets = {{"t.txt", "sha256:" + std::string(64, '0')}};
  EXPECT_EQ(DetailsOf(Plan(spec, PlanDepth::kRefusalsOnly).status()).reason,
            Reason::kDatasetNotFound);
  spec = TrainSpecOf(2);
  spec.source = Folder(goldens / "lfm2-tiny", "golden");
  spec.shape = {};
  spec.shape.hidden_size = 4096;
  EXPECT_EQ(DetailsOf(Plan(spec, PlanDepth::kRefusalsOnly).status()).reason,
            Reason::kFlagContradictsModel);
  spec = TrainSpecOf(2);
  spec.train.keep_checkpoints = 100;
  spec.shape.hidden_size = 65'536;
  spec.shape.num_heads = 512;
  spec.shape.num_kv_heads = 512;
  spec.shape.num_layers = 64;
  EXPECT_EQ(DetailsOf(Plan(spec, PlanDepth::kRefusalsOnly).status()).reason,
            Reason::kInsufficientDisk);
}

TEST_F(JobBodiesTest, PlansARunWithoutRunningIt) {
  Open();
  const TrainPlan plan = Plan(TrainSpecOf(10), PlanDepth::kFull).value();
  EXPECT_GE(plan.dataset_tokens, static_cast<int64_t>(Text().size()));
  EXPECT_EQ(plan.tokens_per_step, 2 * 16);
  EXPECT_GT(plan.epochs, 0);
  EXPECT_GT(plan.parameters, 0);
  EXPECT_GT(plan.memory_bytes, plan.parameters * 16);
  const TrainPlan quick = Plan(TrainSpecOf(10), PlanDepth::kRefusalsOnly).value();
  EXPECT_EQ(quick.parameters, plan.parameters);
  EXPECT_EQ(quick.checkpoint_bytes, plan.checkpoint_bytes);
  EXPECT_TRUE(queue->List(std::nullopt, 10, "")->jobs.empty());
}

// A dataset of 5 MiB is hashed and tokenized in pieces of 1 MiB.
TEST_F(JobBodiesTest, APlanEndsAtTheNextPieceOfTheDatasetWhenItIsStopped) {
  Open();
  JobSpec spec = TrainSpecOf(10);
  std::string text;
  while (text.size() < size_t{5} << 20) text += Text();
  spec.datasets = {{"t.txt", Upload("t.txt", text)}};
  int asked = 0, most = 1'000'000;
  const StopCheck stop = [&] {
    return ++asked <= most ? absl::OkStatus() : Error(Reason::kCancelled, "stopped");
  };
  ASSERT_TRUE(PlanTrainJob(spec, PlanDepth::kFull, Folders(), stop).ok());
  EXPECT_GE(asked, 10);
  const int all = asked;
  for (most = 0; most < all; ++most) {
    asked = 0;
    const absl::Status status = PlanTrainJob(spec, PlanDepth::kFull, Folders(), stop).status();
    EXPECT_EQ(DetailsOf(status).reason, Reason::kCancelled) << status;
    EXPECT_EQ(asked, most + 1);
    EXPECT_TRUE(std::filesystem::is_empty(Folders().scratch));
  }
}

TEST_F(JobBodiesTest, ASourceIsNotProbedFurtherWhenTheProbeIsStopped) {
  int asked = 0, most = 1'000'000;
  const StopCheck stop = [&] {
    return ++asked <= most ? absl::OkStatus() : Error(Reason::kCancelled, "stopped");
  };
  Open();
  const std::vector<int32_t> tokens(600, 1);
  const SourceSpec source = Folder(goldens / "lfm2-tiny", "golden");
  ASSERT_TRUE(ProbeSource(source, tokens, Folders(), stop).ok());
  EXPECT_GE(asked, 4);  // before the weights are read, and before each chunk
  for (most = asked - 1; most >= 0; --most) {
    asked = 0;
    EXPECT_EQ(DetailsOf(ProbeSource(source, tokens, Folders(), stop).status()).reason,
              Reason::kCancelled);
  }
}

// The uploads of a client go by base/file_kinds.h, and so does what a worker makes of them.
TEST_F(JobBodiesTest, ABinIsTakenForWeightsAndATrainersArgumentsAreNot) {
  Open();
  JobSpec spec;
  spec.kind = JobKind::kInit;
  spec.model_name = "bare";
  const std::string golden = ReadText(goldens / "formats" / "legacy.pt");
  for (const char* name : {"pytorch_model.bin", "training_args.bin"}) {
    spec.source = {SourceSpec::Kind::kFiles, "w", "", {{name, Upload(name, golden)}}};
    const Job job = Run(spec);
    EXPECT_EQ(job.state, JobState::kFailed) << name;
    const bool read = job.error.message().find("not a zip") != std::string_view::npos;
    EXPECT_EQ(read, std::string_view(name) == "pytorch_model.bin") << job.error;
  }
}

TEST_F(JobBodiesTest, AnNdjsonIsReadAsJsonLines) {
  Open();
  JobSpec spec = TrainSpecOf(2);
  spec.datasets = {{"t.ndjson", Upload("t.ndjson", "{\"text\": \"a\"}\n{\"txt\": 1}\n")}};
  const absl::Status status = Plan(spec, PlanDepth::kFull).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kDatasetInvalid) << status;
  EXPECT_EQ(DetailsOf(status).metadata.at("line"), "2") << status;
}

TEST_F(JobBodiesTest, ABareWeightsFileGetsAConfigAndBytes) {
  Open();
  JobSpec spec;
  spec.kind = JobKind::kInit;
  spec.model_name = "bare";
  const std::filesystem::path weights = goldens / "lfm2-tiny" / "model.safetensors";
  spec.source = {SourceSpec::Kind::kFiles,
                 "w",
                 "",
                 {{"w.safetensors", Upload("w.safetensors", ReadText(weights))}}};
  const Job job = Run(spec);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(models->Resolve("bare")->manifest.tokenizer_kind, "bytes");
}

}  // namespace
}  // namespace lfm2
