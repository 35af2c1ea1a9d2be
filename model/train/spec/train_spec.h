// The specification of a training run, and the reports that it makes, as plain data. No LibTorch:
// the client's request, the job store and the training loop share it. Flags have the same names:
// `lfm2ctl train start --help`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

enum class LrSchedule { kConstant, kLinear, kCosine, kWsd };
enum class TrainDtype {
  kAuto,
  kFloat32,
  kBfloat16
};  // bfloat16: autocast; master weights stay float32

struct TrainSpec {
  int64_t steps = 200;
  int64_t batch_size = 4;
  int64_t seq_len = 128;
  // micro-batches per step; the loss is divided by the tokens of the whole step
  int64_t grad_accumulation = 1;
  double lr = 3e-4;
  double min_lr_ratio = 0.0;  // final lr / lr, for linear, cosine and wsd
  int64_t warmup_steps = 0;
  double wsd_decay_ratio = 0.2;  // share of the steps in which lr decays
  LrSchedule schedule = LrSchedule::kConstant;
  double weight_decay = 0.1;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double clip_norm = 1.0;         // 0: off
  double eval_ratio = 0.0;        // share of held-out tokens; 0: no evaluation
  int64_t eval_every = 50;        // steps
  int64_t checkpoint_every = 50;  // steps; the last step always writes one
  int64_t keep_checkpoints = 2;
  int64_t seed = 0;
  TrainDtype dtype = TrainDtype::kAuto;
  std::string device = "auto";
  int64_t threads = 0;  // 0: one per core
};

// Checks the range and cross-field rules of a TrainSpec. Reports all violations together, with the
// field names above.
absl::Status CheckTrainSpec(const TrainSpec& spec);

// The learning rate of a 0-based step: a pure function, so that resuming needs only the step.
double LearningRate(const TrainSpec& spec, int64_t step);

// What a run would need, computed without running it.
struct TrainPlan {
  int64_t dataset_tokens = 0;
  int64_t eval_tokens = 0;
  int64_t tokens_per_step = 0;
  double epochs = 0;
  int64_t parameters = 0;
  int64_t memory_bytes = 0;  // weights, moments, gradients, activations of one micro-batch
  int64_t checkpoint_bytes = 0;
};

struct StepMetrics {
  int64_t step = 0;  // steps done, 1-based
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;
  int64_t tokens = 0;  // of this step
  double tokens_per_second = 0;
  double step_ms = 0;
};

struct EvalMetrics {
  int64_t step = 0;
  double loss = 0;
  int64_t tokens = 0;
};

struct CheckpointInfo {
  int64_t step = 0;
  std::string name;  // directory inside the job's folder: "ckpt-<step>-<fencing token>"
};

// Implemented by callers of the training loop, so that the loop does not depend on them.
class TrainReporter {
 public:
  virtual ~TrainReporter() = default;
  virtual void OnStep(const StepMetrics& metrics) = 0;
  virtual void OnEval(const EvalMetrics& metrics) = 0;
  virtual void OnCheckpoint(const CheckpointInfo& checkpoint) = 0;
  virtual void OnNote(const std::string& text) = 0;  // "fell back to ckpt-50-1: ckpt-100-1 is torn"
  virtual bool StopRequested() = 0;                  // called once per step
  // False if this worker has lost its lease; it may then publish nothing more.
  virtual bool MayPublish() = 0;
};

}  // namespace lfm2
