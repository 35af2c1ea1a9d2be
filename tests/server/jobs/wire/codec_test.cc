#include "server/jobs/wire/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/errors.h"

namespace lfm2 {
namespace {

JobSpec FullSpec() {
  JobSpec spec;
  spec.kind = JobKind::kExport;
  spec.model_name = "m";
  spec.source = {SourceSpec::Kind::kFiles, "s", "/d\xff", {{"a.npz", "sha256:1"}}};
  spec.tokenizer = {SourceSpec::Kind::kBytes, "bytes", "", {}};
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.vocab_size = 1;
  spec.shape.hidden_size = 2;
  spec.shape.num_layers = 3;
  spec.shape.num_heads = 4;
  spec.shape.num_kv_heads = 5;
  spec.shape.intermediate_size = 6;
  spec.shape.ssm_state_size = 7;
  spec.shape.attn_every = 0;
  spec.shape.conv_kernel = 9;
  spec.shape.parallel_residual = false;
  spec.shape.tie_word_embeddings = true;
  spec.shape.rope_theta = 0.5;
  spec.shape.norm_eps = 1e-7;
  spec.partial = true;
  spec.seed = ~uint64_t{0};
  spec.train = {1,  2,  3,  4,  5,  6,  7,  8,  LrSchedule::kWsd,      9,        10,
                11, 12, 13, 14, 15, 16, 17, 18, TrainDtype::kBfloat16, "cuda:1", 19};
  spec.datasets = {{"t.txt", "sha256:2"}, {"u.jsonl", "sha256:3"}};
  spec.export_format = ExportFormat::kSafetensors;
  spec.labels = {{"b", "2"}, {"a", "\xfe"}};
  return spec;
}

// A field that the codec forgot would come back as its default, and then the bytes would differ
// from those of a spec that was never encoded; the fields that decide are compared one by one.
TEST(Codec, KeepsEveryFieldOfAJobSpec) {
  const JobSpec spec = FullSpec();
  const JobSpec read = DecodeJobSpec(EncodeJobSpec(spec)).value();
  EXPECT_EQ(EncodeJobSpec(read), EncodeJobSpec(spec));
  EXPECT_EQ(read.kind, spec.kind);
  EXPECT_EQ(read.source.directory, spec.source.directory);
  EXPECT_EQ(read.source.files[0].dataset, "sha256:1");
  EXPECT_EQ(read.tokenizer.kind, SourceSpec::Kind::kBytes);
  EXPECT_EQ(read.shape.architecture, Architecture::kHybrid);
  EXPECT_EQ(read.shape.attn_every, 0);
  EXPECT_EQ(read.shape.parallel_residual, false);
  EXPECT_EQ(read.shape.tie_word_embeddings, true);
  EXPECT_EQ(read.shape.rope_theta, 0.5);
  EXPECT_EQ(read.shape.norm_eps, 1e-7);
  EXPECT_TRUE(read.partial);
  EXPECT_EQ(read.seed, spec.seed);
  EXPECT_EQ(read.labels, spec.labels);
  EXPECT_EQ(read.export_format, spec.export_format);
  const TrainSpec& train = read.train;
  EXPECT_EQ(train.steps, 1);
  EXPECT_EQ(train.batch_size, 2);
  EXPECT_EQ(train.seq_len, 3);
  EXPECT_EQ(train.grad_accumulation, 4);
  EXPECT_EQ(train.lr, 5);
  EXPECT_EQ(train.min_lr_ratio, 6);
  EXPECT_EQ(train.warmup_steps, 7);
  EXPECT_EQ(train.wsd_decay_ratio, 8);
  EXPECT_EQ(train.schedule, LrSchedule::kWsd);
  EXPECT_EQ(train.weight_decay, 9);
  EXPECT_EQ(train.beta1, 10);
  EXPECT_EQ(train.beta2, 11);
  EXPECT_EQ(train.epsilon, 12);
  EXPECT_EQ(train.clip_norm, 13);
  EXPECT_EQ(train.eval_ratio, 14);
  EXPECT_EQ(train.eval_every, 15);
  EXPECT_EQ(train.checkpoint_every, 16);
  EXPECT_EQ(train.keep_checkpoints, 17);
  EXPECT_EQ(train.seed, 18);
  EXPECT_EQ(train.dtype, TrainDtype::kBfloat16);
  EXPECT_EQ(train.device, "cuda:1");
  EXPECT_EQ(train.threads, 19);
}

TEST(Codec, AnUnsetShapeStaysUnset) {
  const JobSpec read = DecodeJobSpec(EncodeJobSpec(JobSpec{})).value();
  EXPECT_FALSE(read.shape.architecture.has_value());
  EXPECT_FALSE(read.shape.attn_every.has_value());
  EXPECT_FALSE(read.shape.parallel_residual.has_value());
}

template <class T>
T RoundTrip(T body) {
  const JobEvent event = DecodeJobEvent(EncodeJobEvent({7, 8, std::move(body)})).value();
  EXPECT_EQ(event.seq, 7);
  EXPECT_EQ(event.at_ms, 8);
  return std::get<T>(event.body);
}

TEST(Codec, KeepsEveryKindOfEvent) {
  const StateChange change = RoundTrip(StateChange{JobState::kFailed,
                                                   3,
                                                   Error(Reason::kDiskFull, "full", {{"k", "v"}}),
                                                   "v4",
                                                   {{"f", 5, "aa"}}});
  EXPECT_EQ(change.state, JobState::kFailed);
  EXPECT_EQ(change.attempt, 3);
  EXPECT_EQ(DetailsOf(change.status).metadata.at("k"), "v");
  EXPECT_EQ(change.result_version, "v4");
  EXPECT_EQ(change.files[0].bytes, 5);
  const StepMetrics step = RoundTrip(StepMetrics{1, std::nan(""), 3, 4, 5, 6, 7});
  EXPECT_TRUE(std::isnan(step.loss));
  EXPECT_EQ(step.lr, 3);
  EXPECT_EQ(step.grad_norm, 4);
  EXPECT_EQ(step.tokens, 5);
  EXPECT_EQ(step.tokens_per_second, 6);
  EXPECT_EQ(step.step_ms, 7);
  EXPECT_EQ(RoundTrip(EvalMetrics{1, 2, 3}).tokens, 3);
  EXPECT_EQ(RoundTrip(CheckpointInfo{1, "ckpt-1-1"}).name, "ckpt-1-1");
  EXPECT_EQ(RoundTrip(Note{"any \xff bytes"}).text, "any \xff bytes");
  EXPECT_EQ(RoundTrip(Progress{1, 2, "tensors"}).total, 2);
  const ConversionReport report =
      RoundTrip(ConversionReport{{{"t\xff", TensorFate::kWrongShape, "n"}}});
  EXPECT_EQ(report.tensors[0].name, "t\xff") << "an NPZ's names need not be UTF-8";
  EXPECT_EQ(report.tensors[0].fate, TensorFate::kWrongShape);
  EXPECT_EQ(report.tensors[0].note, "n");
}

TEST(Codec, KeepsAnOrder) {
  Order order;
  order.job_id = "id";
  order.fencing_token = 4;
  order.job_dir = "/dir\xff";
  order.dataset_paths = {{"sha256:1", "/a"}, {"sha256:2", "/b"}};
  order.spec = FullSpec();
  order.heartbeat = std::chrono::milliseconds(5);
  order.lease = std::chrono::milliseconds(6);
  const ToWorker message = DecodeToWorker(EncodeToWorker(order)).value();
  const Order& read = std::get<Order>(message);
  EXPECT_EQ(read.job_id, "id");
  EXPECT_EQ(read.fencing_token, 4);
  EXPECT_EQ(read.job_dir, order.job_dir);
  EXPECT_EQ(read.dataset_paths, order.dataset_paths);
  EXPECT_EQ(EncodeJobSpec(read.spec), EncodeJobSpec(order.spec));
  EXPECT_EQ(read.heartbeat, order.heartbeat);
  EXPECT_EQ(read.lease, order.lease);
}

TEST(Codec, KeepsAResult) {
  const WorkerResult result{Error(Reason::kDiskFull, "x"), {{"a", 1, "b"}}, true, "sha", "bpe"};
  const FromWorker message = DecodeFromWorker(EncodeFromWorker(result)).value();
  const WorkerResult& read = std::get<WorkerResult>(message);
  EXPECT_EQ(DetailsOf(read.status).reason, Reason::kDiskFull);
  EXPECT_EQ(read.files[0].sha256, "b");
  EXPECT_TRUE(read.stopped);
  EXPECT_EQ(read.tokenizer_sha256, "sha");
  EXPECT_EQ(read.tokenizer_kind, "bpe");
}

TEST(Codec, RefusesWhatIsNoMessage) {
  for (const std::string bytes : {"", "\xff\xff\xff", "hello"}) {
    EXPECT_FALSE(DecodeJobEvent(bytes).ok());
    EXPECT_FALSE(DecodeToWorker(bytes).ok());
    EXPECT_FALSE(DecodeFromWorker(bytes).ok());
  }
  // kind = 9
  EXPECT_EQ(DetailsOf(DecodeJobSpec(std::string("\x08\x09", 2)).status()).reason,
            Reason::kInternal);
}

}  // namespace
}  // namespace lfm2
