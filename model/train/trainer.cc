#include "model/train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aside_directory.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "model/export/hf_folder.h"
#include "model/torch/device.h"
#include "model/train/checkpoint.h"
#include "model/train/learner.h"
#include "model/train/metrics_log.h"
#include "model/train/training_data.h"

namespace lfm2 {
namespace {

constexpr double kLossEmaKeep = 0.95;
constexpr char kResultDirectory[] = "result";

// Hash of everything that determines the numbers of a run, so that a run does not resume from the
// checkpoint of a different one.
std::string RunHash(const TrainSpec& spec, const ModelConfig& config, const std::string& data_key) {
  return Sha256Hex(Json{{"steps", spec.steps},
                        {"batch_size", spec.batch_size},
                        {"seq_len", spec.seq_len},
                        {"grad_accumulation", spec.grad_accumulation},
                        {"lr", spec.lr},
                        {"min_lr_ratio", spec.min_lr_ratio},
                        {"warmup_steps", spec.warmup_steps},
                        {"wsd_decay_ratio", spec.wsd_decay_ratio},
                        {"schedule", static_cast<int>(spec.schedule)},
                        {"weight_decay", spec.weight_decay},
                        {"betas", {spec.beta1, spec.beta2}},
                        {"epsilon", spec.epsilon},
                        {"clip_norm", spec.clip_norm},
                        {"eval_ratio", spec.eval_ratio},
                        {"seed", spec.seed},
                        {"dtype", static_cast<int>(spec.dtype)},
                        {"data", data_key},
                        {"config", ModelConfigToJson(config)}}
                       .dump());
}

absl::StatusOr<at::ScalarType> ComputeDtype(TrainDtype wanted, at::Device device, DType stored) {
  switch (wanted) {
    case TrainDtype::kFloat32:
      return at::kFloat;
    case TrainDtype::kBfloat16:
      return ChooseDtype("bfloat16", device, stored);
    case TrainDtype::kAuto:
      return ChooseDtype("auto", device, stored);
  }
  return at::kFloat;
}

class Trainer {
 public:
  Trainer(const TrainRun& run, TrainReporter& reporter) : run_(run), reporter_(reporter) {}

  absl::Status Open();
  absl::StatusOr<TrainResult> Loop();

 private:
  absl::Status OpenModel();
  absl::Status Resume();
  absl::Status Step();
  absl::Status Evaluate();
  absl::Status Save();
  absl::StatusOr<TrainResult> Finish();
  TrainResult ResultSoFar() const;

  const TrainRun& run_;
  TrainReporter& reporter_;
  std::optional<TrainingData> data_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<MetricsLog> metrics_;
  CheckpointState state_;
  std::string last_checkpoint_;
  int64_t saved_step_ = -1;
};

absl::Status Trainer::Open() {
  LFM2_RETURN_IF_ERROR(CheckTrainSpec(run_.spec));
  if (run_.fencing_token < 0) {
    return Error(Reason::kInvalidArgument,
                 absl::StrCat("fencing_token is ", run_.fencing_token, ", must be 0 or more"));
  }
  if (!reporter_.MayPublish()) {
    return Error(Reason::kWrongState, "this worker has no lease on the job");
  }
  LFM2_RETURN_IF_ERROR(OpenModel());
  const TokenStoreResult& tokens = data_->tokens;
  reporter_.OnNote(absl::StrCat(tokens.reused ? "found " : "made ", tokens.store.tokens().size(),
                                " tokens in ", tokens.store.document_ends().size(), " documents; ",
                                data_->rows.train_rows(), " rows to train on, ",
                                data_->rows.eval_rows(), " held out"));
  if (tokens.empty_documents > 0) {
    reporter_.OnNote(absl::StrCat(tokens.empty_documents, " empty documents are left out"));
  }
  LFM2_RETURN_IF_ERROR(RemoveAsideDirectories(run_.job_dir));
  LFM2_ASSIGN_OR_RETURN(metrics_, MetricsLog::Open(run_.job_dir / "metrics.jsonl"));
  return Resume();
}

absl::Status Trainer::OpenModel() {
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  LFM2_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(run_.spec.device));
  at::set_num_threads(static_cast<int>(run_.spec.threads > 0 ? run_.spec.threads : cores));
  LFM2_ASSIGN_OR_RETURN(const ModelFolder folder, OpenModelFolder(run_.model_dir));
  if (!folder.config) {
    return Error(Reason::kConfigInvalid, "the model to train has no config.json");
  }
  LFM2_ASSIGN_OR_RETURN(data_, OpenTrainingData(run_, folder.config->vocab_size));
  LFM2_ASSIGN_OR_RETURN(const auto start,
                        Weights::FromArchive(*folder.config, folder.weights, at::kCPU, at::kFloat));
  const TensorView* embedding = folder.weights.Find(kEmbeddingWeight);
  LFM2_ASSIGN_OR_RETURN(const at::ScalarType dtype,
                        ComputeDtype(run_.spec.dtype, device, embedding->dtype));
  learner_ = std::make_unique<Learner>(*folder.config, start->tensors(),
                                       Weights::Empty(device, dtype), run_.spec);
  state_.run_hash = RunHash(run_.spec, *folder.config, data_->tokens.store.key());
  return absl::OkStatus();
}

absl::Status Trainer::Resume() {
  LFM2_ASSIGN_OR_RETURN(std::optional<LoadedCheckpoint> loaded,
                        ReadNewestCheckpoint(run_.job_dir, [this](const std::string& text) {
                          reporter_.OnNote(text);
                        }));
  if (!loaded) return absl::OkStatus();
  if (loaded->state.run_hash != state_.run_hash) {
    return Error(Reason::kWrongState,
                 absl::StrCat(loaded->name.ToString(),
                              " belongs to a run with another spec, dataset, tokenizer or model"),
                 {{"checkpoint", loaded->name.ToString()}});
  }
  LFM2_RETURN_IF_ERROR(learner_->Restore(loaded->weights, loaded->optimizer_state));
  state_ = loaded->state;
  saved_step_ = state_.step;
  last_checkpoint_ = loaded->name.ToString();
  reporter_.OnNote(absl::StrCat("resumed from ", last_checkpoint_));
  return metrics_->AppendResume(state_.step);
}

absl::StatusOr<TrainResult> Trainer::Loop() {
  while (state_.step < run_.spec.steps) {
    if (!reporter_.MayPublish()) {
      return Error(Reason::kWrongState,
                   absl::StrCat("this worker lost its lease at step ", state_.step));
    }
    if (reporter_.StopRequested()) {
      LFM2_RETURN_IF_ERROR(Save());
      TrainResult result = ResultSoFar();
      result.stopped = true;
      return result;
    }
    LFM2_RETURN_IF_ERROR(Step());
    const bool last = state_.step == run_.spec.steps;
    const bool evaluates = data_->rows.eval_rows() > 0;
    if (evaluates && (last || state_.step % run_.spec.eval_every == 0)) {
      LFM2_RETURN_IF_ERROR(Evaluate());
    }
    if (last || state_.step % run_.spec.checkpoint_every == 0) LFM2_RETURN_IF_ERROR(Save());
  }
  return Finish();
}

absl::Status Trainer::Step() {
  const auto started = std::chrono::steady_clock::now();
  const TrainSpec& spec = run_.spec;
  const std::vector<int64_t> rows =
      data_->rows.NextRows(spec.batch_size * spec.grad_accumulation, state_.cursor);
  int64_t targets = 0;
  for (int64_t row : rows) targets += data_->rows.TargetsOf(row);

  at::Tensor loss;
  for (size_t first = 0; first < rows.size(); first += static_cast<size_t>(spec.batch_size)) {
    const std::span<const int64_t> micro_batch(rows.data() + first,
                                               static_cast<size_t>(spec.batch_size));
    const at::Tensor part = learner_->AccumulateGradients(data_->rows.Pack(micro_batch), targets);
    loss = loss.defined() ? loss + part : part;
  }
  const at::Tensor norm = learner_->ClipGradients();
  const at::Tensor figures = at::stack({loss, norm}).to(at::kCPU);  // the only wait in a step

  StepMetrics metrics;
  metrics.step = state_.step + 1;
  metrics.loss = figures[0].item<float>();
  metrics.grad_norm = figures[1].item<float>();
  metrics.lr = LearningRate(spec, state_.step);
  metrics.tokens = targets;
  if (!std::isfinite(metrics.loss) || !std::isfinite(metrics.grad_norm)) {
    return Error(Reason::kTrainingDiverged,
                 absl::StrCat("step ", metrics.step, ": loss ", metrics.loss, ", gradient norm ",
                              metrics.grad_norm, ", learning rate ", metrics.lr,
                              "; the weights before this step are kept in ",
                              last_checkpoint_.empty() ? "no checkpoint" : last_checkpoint_),
                 {{"step", absl::StrCat(metrics.step)}, {"checkpoint", last_checkpoint_}});
  }
  learner_->Update(state_.step, metrics.lr);
  state_.loss_ema = state_.step == 0
                        ? metrics.loss
                        : kLossEmaKeep * state_.loss_ema + (1 - kLossEmaKeep) * metrics.loss;
  state_.loss = metrics.loss;
  state_.step = metrics.step;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
  metrics.step_ms = elapsed.count() * 1e3;
  metrics.tokens_per_second = static_cast<double>(targets) / elapsed.count();
  LFM2_RETURN_IF_ERROR(metrics_->Append(metrics, state_.loss_ema));
  reporter_.OnStep(metrics);
  return absl::OkStatus();
}

absl::Status Trainer::Evaluate() {
  const RowPacker& packer = data_->rows;
  double sum = 0;
  for (int64_t row = packer.train_rows(); row < packer.train_rows() + packer.eval_rows();) {
    std::vector<int64_t> rows;
    const int64_t end = packer.train_rows() + packer.eval_rows();
    for (; row < end && static_cast<int64_t>(rows.size()) < run_.spec.batch_size; ++row) {
      if (packer.TargetsOf(row) > 0) rows.push_back(row);
    }
    if (!rows.empty()) sum += learner_->EvalLossSum(packer.Pack(rows)).item<float>();
  }
  const EvalMetrics metrics{state_.step, sum / static_cast<double>(packer.eval_targets()),
                            packer.eval_targets()};
  LFM2_RETURN_IF_ERROR(metrics_->Append(metrics));
  reporter_.OnEval(metrics);
  return absl::OkStatus();
}

absl::Status Trainer::Save() {
  if (saved_step_ == state_.step) return absl::OkStatus();
  const CheckpointName name{state_.step, run_.fencing_token};
  const CheckpointContent content{learner_->config(), learner_->parameters(),
                                  learner_->optimizer_state(), state_};
  LFM2_RETURN_IF_ERROR(
      WriteCheckpoint(run_.job_dir, name, content, [this] { return reporter_.MayPublish(); }));
  saved_step_ = state_.step;
  last_checkpoint_ = name.ToString();
  reporter_.OnCheckpoint({name.step, last_checkpoint_});
  return RemoveOldCheckpoints(run_.job_dir, name, run_.spec.keep_checkpoints);
}

TrainResult Trainer::ResultSoFar() const {
  TrainResult result;
  result.steps = state_.step;
  result.final_loss = state_.loss;
  result.last_checkpoint = last_checkpoint_;
  return result;
}

absl::StatusOr<TrainResult> Trainer::Finish() {
  const std::filesystem::path directory = run_.job_dir / kResultDirectory;
  LFM2_ASSIGN_OR_RETURN(AsideDirectory aside, AsideDirectory::Create(directory));
  LFM2_ASSIGN_OR_RETURN(const HostTensors host, ToHost(learner_->parameters()));
  LFM2_RETURN_IF_ERROR(
      WriteHfFolder({learner_->config(), host.views, run_.tokenizer_dir}, aside.path()));
  if (!reporter_.MayPublish()) {
    return Error(Reason::kWrongState, "this worker lost its lease: the result is not published");
  }
  LFM2_RETURN_IF_ERROR(aside.Replace());
  TrainResult result = ResultSoFar();
  result.model_dir = directory;
  return result;
}

absl::StatusOr<TrainResult> TrainOrThrow(const TrainRun& run, TrainReporter& reporter) {
  const c10::InferenceMode plain(false);
  const at::AutoGradMode grad(true);
  Trainer trainer(run, reporter);
  LFM2_RETURN_IF_ERROR(trainer.Open());
  return trainer.Loop();
}

}  // namespace

absl::StatusOr<TrainResult> Train(const TrainRun& run, TrainReporter& reporter) {
  try {
    return TrainOrThrow(run, reporter);
  } catch (const c10::OutOfMemoryError& error) {
    return Error(Reason::kOutOfMemory, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    const bool memory = what.find("allocate memory") != std::string::npos ||
                        what.find("not enough memory") != std::string::npos;
    return Error(memory ? Reason::kOutOfMemory : Reason::kInternal, what);
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the training step does not fit in memory");
  } catch (const std::exception& error) {
    return Error(Reason::kInternal, error.what());
  }
}

}  // namespace lfm2
