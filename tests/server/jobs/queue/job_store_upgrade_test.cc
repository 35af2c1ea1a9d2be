// A store that the programs of ea349ee wrote (tests/goldens/jobs), opened by today's.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <cctype>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "server/jobs/queue/old_event_log.h"
#include "tests/server/jobs/queue/queue_fixture.h"

namespace lfm2 {
namespace {

using ::testing::ElementsAre;

const std::filesystem::path kGolden = std::filesystem::path(LFM2_GOLDENS_DIR) / "jobs";

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Json ErrorOf(const absl::Status& status) {
  return {{"reason", SpecOf(DetailsOf(status).reason).name}, {"message", status.message()}};
}

// As the client of ea349ee said it.
Json Said(const Job& job) {
  Json said = {{"id", job.id},
               {"kind", JobKindName(job.spec.kind)},
               {"state", Lower(JobStateName(job.state))},
               {"model", job.spec.model_name},
               {"created_at_ms", job.created_at_ms},
               {"updated_at_ms", job.updated_at_ms},
               {"attempt", job.attempt},
               {"step", job.step},
               {"steps", job.spec.kind == JobKind::kTrain ? job.spec.train.steps : 0},
               {"loss", job.loss},
               {"tokens_per_second", job.tokens_per_second},
               {"checkpoint", job.checkpoint},
               {"cancel_requested", job.cancel_requested},
               {"result_version", job.result_version},
               {"labels", job.spec.labels},
               {"last_seq", job.last_seq},
               {"request_id", job.request_id}};
  if (!job.error.ok()) said["error"] = ErrorOf(job.error);
  return said;
}

Json Said(const StateChange& change) {
  Json said = {{"type", "state"},
               {"state", Lower(JobStateName(change.state))},
               {"attempt", change.attempt},
               {"result_version", change.result_version}};
  if (!change.status.ok()) said["error"] = ErrorOf(change.status);
  return said;
}

Json Said(const StepMetrics& step) {
  return {{"type", "metrics"},
          {"step", step.step},
          {"loss", step.loss},
          {"lr", step.lr},
          {"grad_norm", step.grad_norm},
          {"tokens", step.tokens},
          {"tokens_per_second", step.tokens_per_second},
          {"step_ms", step.step_ms}};
}

Json Said(const EvalMetrics& eval) {
  return {{"type", "eval"}, {"step", eval.step}, {"loss", eval.loss}, {"tokens", eval.tokens}};
}

Json Said(const CheckpointInfo& checkpoint) {
  return {{"type", "checkpoint"}, {"step", checkpoint.step}, {"name", checkpoint.name}};
}

Json Said(const Note& note) { return {{"type", "note"}, {"text", note.text}}; }

Json Said(const Progress& progress) {
  return {{"type", "progress"},
          {"done", progress.done},
          {"total", progress.total},
          {"what", progress.what}};
}

Json Said(const ConversionReport& report) {
  constexpr const char* kFates[] = {"copied", "converted", "fresh", "unexpected", "wrong_shape"};
  Json said = {{"type", "report"}, {"tensors", Json::array()}};
  for (const TensorReport& tensor : report.tensors) {
    said["tensors"].push_back({{"name", tensor.name},
                               {"fate", kFates[static_cast<int>(tensor.fate)]},
                               {"note", tensor.note}});
  }
  return said;
}

Json Said(const JobEvent& event) {
  Json said = std::visit([](const auto& body) { return Said(body); }, event.body);
  said["seq"] = event.seq;
  said["at_ms"] = event.at_ms;
  return said;
}

// The same keys with the same values, whatever their order.
nlohmann::json Unordered(const Json& json) { return nlohmann::json::parse(json.dump()); }

class JobStoreUpgradeTest : public QueueFixture {
 protected:
  JobStoreUpgradeTest() {
    options.train_slots = options.short_slots = 0;
    std::filesystem::copy(kGolden / "jobs.sqlite3", options.data_dir);
    std::filesystem::copy(kGolden / "jobs", options.data_dir / "jobs",
                          std::filesystem::copy_options::recursive);
  }

  const Json& JobNamed(const std::string& name) const { return golden[name]["job"]; }
  std::string IdOf(const std::string& name) const { return JobNamed(name)["id"]; }
  std::filesystem::path LogOf(const std::string& name) {
    return JobDirectory(IdOf(name)) / "events.log";
  }

  const Json golden = Json::parse(ReadText(kGolden / "jobs.json"));
};

TEST_F(JobStoreUpgradeTest, EveryJobAndEveryEventIsReadAsItWas) {
  Open();
  EXPECT_EQ(queue->List(std::nullopt, 100, "")->jobs.size(), golden.size());
  int64_t events = 0;
  for (const auto& [name, said] : golden.items()) {
    SCOPED_TRACE(name);
    if (name == "running") continue;  // it is queued again
    EXPECT_EQ(Unordered(Said(Get(IdOf(name)))), Unordered(said["job"]));
    ExpectNumberedWithoutGap(IdOf(name));
    if (name == "queued") continue;  // nothing watched it
    const std::vector<JobEvent> read = Events(IdOf(name));
    ASSERT_EQ(read.size(), said["events"].size());
    for (size_t i = 0; i < read.size(); ++i) {
      EXPECT_EQ(Unordered(Said(read[i])), Unordered(said["events"][i]));
    }
    events += static_cast<int64_t>(read.size());
  }
  EXPECT_EQ(events, 126);
}

TEST_F(JobStoreUpgradeTest, FilesOfAnExportAndTheDetailsOfAnErrorAreKept) {
  Open();
  const Job job = Get(IdOf("export_safetensors"));
  EXPECT_EQ(job.spec.export_format, ExportFormat::kSafetensors);
  EXPECT_EQ(job.spec.source.kind, SourceSpec::Kind::kFolder);
  EXPECT_EQ(job.spec.source.name, "made@v1");
  EXPECT_EQ(job.spec.source.directory, "/srv/lfm2d/data/models/made/v1");
  ASSERT_EQ(job.files.size(), 3u);
  EXPECT_EQ(job.files[1].name, "config.json");
  EXPECT_EQ(job.files[1].bytes, 463);
  const auto last = std::get<StateChange>(Events(job.id).back().body);
  EXPECT_EQ(last.files[1].sha256, job.files[1].sha256);
  EXPECT_EQ(Get(IdOf("export")).spec.export_format, ExportFormat::kNpz);
  EXPECT_EQ(DetailsOf(Get(IdOf("quarantined")).error).metadata.at("crashes"), "3");
}

TEST_F(JobStoreUpgradeTest, EveryOptionOfATrainingJobIsReadAsItWas) {
  Open();
  const JobSpec spec = Get(IdOf("queued")).spec;
  EXPECT_EQ(spec.kind, JobKind::kTrain);
  EXPECT_EQ(spec.source.name, "made@v1");
  EXPECT_EQ(spec.tokenizer.kind, SourceSpec::Kind::kBytes);
  EXPECT_TRUE(spec.partial);
  EXPECT_EQ(spec.seed, 0u);
  EXPECT_EQ(spec.shape.attn_every, 2);
  EXPECT_EQ(spec.shape.hidden_size, 64);
  EXPECT_FALSE(spec.shape.architecture.has_value());
  ASSERT_EQ(spec.datasets.size(), 2u);
  EXPECT_EQ(spec.datasets[1].name, "u.txt");
  EXPECT_EQ(spec.datasets[1].dataset.size(), 71u);
  const TrainSpec& train = spec.train;
  EXPECT_EQ(train.steps, 3);
  EXPECT_EQ(train.batch_size, 1);
  EXPECT_EQ(train.seq_len, 8);
  EXPECT_EQ(train.grad_accumulation, 2);
  EXPECT_EQ(train.lr, 0.01);
  EXPECT_EQ(train.min_lr_ratio, 0.5);
  EXPECT_EQ(train.warmup_steps, 1);
  EXPECT_EQ(train.wsd_decay_ratio, 0);
  EXPECT_EQ(train.schedule, LrSchedule::kWsd);
  EXPECT_EQ(train.weight_decay, 0);
  EXPECT_EQ(train.beta1, 0);
  EXPECT_EQ(train.beta2, 0.5);
  EXPECT_EQ(train.epsilon, 1e-6);
  EXPECT_EQ(train.clip_norm, 0);
  EXPECT_EQ(train.eval_ratio, 0);
  EXPECT_EQ(train.eval_every, 3);
  EXPECT_EQ(train.checkpoint_every, 2);
  EXPECT_EQ(train.keep_checkpoints, 1);
  EXPECT_EQ(train.seed, 0);
  EXPECT_EQ(train.dtype, TrainDtype::kFloat32);
  EXPECT_EQ(train.device, "cpu");
  EXPECT_EQ(train.threads, 1);
  const TrainSpec first = Get(IdOf("train")).spec.train;
  EXPECT_EQ(first.schedule, LrSchedule::kCosine);
  EXPECT_EQ(first.dtype, TrainDtype::kAuto);
  EXPECT_EQ(first.weight_decay, 0.1);
  EXPECT_EQ(first.eval_ratio, 0.2);
}

TEST_F(JobStoreUpgradeTest, EveryFieldOfAShapeIsReadAsItWas) {
  Open();
  const JobSpec spec = Get(IdOf("init_wrong_shape")).spec;
  EXPECT_EQ(spec.kind, JobKind::kInit);
  EXPECT_EQ(spec.seed, 9u);
  EXPECT_EQ(spec.source.kind, SourceSpec::Kind::kFiles);
  ASSERT_EQ(spec.source.files.size(), 6u);
  EXPECT_EQ(spec.source.files[0].name, "config.json");
  EXPECT_EQ(spec.shape.architecture, Architecture::kLfm2);
  EXPECT_EQ(spec.shape.intermediate_size, 96);
  EXPECT_EQ(spec.shape.conv_kernel, 4);
  EXPECT_EQ(spec.shape.parallel_residual, false);
  EXPECT_EQ(spec.shape.tie_word_embeddings, true);
  EXPECT_EQ(spec.shape.rope_theta, 5000);
  EXPECT_EQ(spec.shape.norm_eps, 1e-5);
  EXPECT_FALSE(spec.shape.vocab_size.has_value());
  const ModelShape fresh = Get(IdOf("init_fresh")).spec.shape;
  EXPECT_EQ(fresh.architecture, Architecture::kHybrid);
  EXPECT_EQ(fresh.num_layers, 2);
  EXPECT_EQ(fresh.num_heads, 4);
  EXPECT_EQ(fresh.num_kv_heads, 2);
  EXPECT_EQ(fresh.attn_every, 2);
  EXPECT_EQ(Get(IdOf("init_failed")).spec.shape.vocab_size, 300);
}

// The daemon was killed at event 80; the row of the job had got to event 72.
TEST_F(JobStoreUpgradeTest, BelievesTheEventsWhereTheRowIsBehind) {
  Open();
  const std::string id = IdOf("running");
  const Job job = Get(id);
  EXPECT_EQ(job.state, JobState::kQueued);
  EXPECT_EQ(job.attempt, 2);
  EXPECT_EQ(job.last_seq, 81);
  ExpectNumberedWithoutGap(id);
  const std::vector<JobEvent> events = Events(id);
  EXPECT_EQ(std::get<StepMetrics>(events[79].body).step, job.step);
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2"));
}

TEST_F(JobStoreUpgradeTest, AChangeOfStateThatTheRowDoesNotKnowOfCounts) {
  const std::string cancelled = ReadText(LogOf("cancelled")), queued = ReadText(LogOf("queued"));
  WriteText(LogOf("queued"), queued + cancelled.substr(queued.size()));
  Open();
  const std::string id = IdOf("queued");
  EXPECT_EQ(Get(id).state, JobState::kCancelled);
  EXPECT_EQ(queue->List(JobState::kCancelled, 10, "")->jobs.size(), 3u);
  ExpectNumberedWithoutGap(id);
}

TEST_F(JobStoreUpgradeTest, CutsATornEventAndGoesOnCounting) {
  WriteText(LogOf("queued"), ReadText(LogOf("queued")) + std::string("\x20\x00\x00\x00torn", 8));
  Open();
  const std::string id = IdOf("queued");
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "CANCELLED 1"));
  ExpectNumberedWithoutGap(id);
}

TEST_F(JobStoreUpgradeTest, CutsAtAFlippedBitAndFillsTheNumbersThatWereKnown) {
  std::string bytes = ReadText(LogOf("cancelled"));
  bytes.back() ^= 1;  // in the second of two events
  WriteText(LogOf("cancelled"), bytes);
  std::filesystem::remove(LogOf("failed"));
  Open();
  const std::vector<JobEvent> events = Events(IdOf("cancelled"));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(std::get<StateChange>(events[0].body).state, JobState::kQueued);
  EXPECT_EQ(std::get<Note>(events[1].body).text, "event 2 was lost: the log was damaged");
  EXPECT_EQ(events[1].seq, 2);
  EXPECT_EQ(Get(IdOf("cancelled")).state, JobState::kCancelled);
  EXPECT_EQ(Events(IdOf("failed")).size(), 3u);
  ExpectNumberedWithoutGap(IdOf("failed"));
}

TEST_F(JobStoreUpgradeTest, AQueuedJobRunsAndTheSameRequestIsTheSameJob) {
  options.train_slots = 1;
  Open();
  const std::string id = IdOf("queued");
  const JobSpec spec = Get(id).spec;
  EXPECT_EQ(queue->Submit("local", "third", spec)->id, id);
  EXPECT_EQ(AwaitEnd(IdOf("running")).attempt, 2);  // goes first, and has no script to follow
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.step, 2);
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "SUCCEEDED 1"));
  ExpectNumberedWithoutGap(id);
}

TEST_F(JobStoreUpgradeTest, HappensOnceAndTakesTheOldFilesAway) {
  Open();
  const std::string id = IdOf("train");
  EXPECT_FALSE(std::filesystem::exists(LogOf("train")));
  EXPECT_FALSE(std::filesystem::exists(LogOf("queued")));
  queue.reset();
  Open();
  EXPECT_EQ(Unordered(Said(Get(id))), Unordered(JobNamed("train")));
  EXPECT_EQ(Events(id).size(), 18u);
}

// The daemon serves models without the job store where its reason is JOB_STORE_CORRUPT.
TEST_F(JobStoreUpgradeTest, ASpecThatCannotBeReadNamesItsJob) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((options.data_dir / "jobs.sqlite3").c_str(), &db), SQLITE_OK);
  const std::string change = "UPDATE jobs SET spec=x'ffffff' WHERE id='" + IdOf("queued") + "'";
  EXPECT_EQ(sqlite3_exec(db, change.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  models = ModelStore::Open(options.data_dir / "models", options.data_dir / "hf").value();
  datasets = DatasetStore::Open(options.data_dir / "datasets", limits, *clock).value();
  const auto opened = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(opened.status()).reason, Reason::kJobStoreCorrupt) << opened.status();
  EXPECT_NE(opened.status().message().find(IdOf("queued")), std::string_view::npos);
}

TEST_F(JobStoreUpgradeTest, AnUpgradeThatFailsLeavesTheStoreAsItWas) {
  std::filesystem::remove(LogOf("queued"));
  std::filesystem::create_directory(LogOf("queued"));  // cannot be read
  const std::string before = ReadText(LogOf("train"));
  models = ModelStore::Open(options.data_dir / "models", options.data_dir / "hf").value();
  datasets = DatasetStore::Open(options.data_dir / "datasets", limits, *clock).value();
  const auto opened = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(opened.status()).reason, Reason::kStorageIoError) << opened.status();
  EXPECT_EQ(ReadText(LogOf("train")), before);
  std::filesystem::remove(LogOf("queued"));
  std::filesystem::copy(kGolden / "jobs" / IdOf("queued") / "events.log", LogOf("queued"));
  Open();
  EXPECT_EQ(Events(IdOf("train")).size(), 18u);
}

}  // namespace
}  // namespace lfm2
