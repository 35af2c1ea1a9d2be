#include "model/train/spec/train_spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr int64_t kMaxSteps = 100'000'000;
constexpr int64_t kMaxBatch = 65'536;
constexpr int64_t kMaxSeqLen = 1 << 20;
constexpr int64_t kMaxMicroBatchTokens = 1 << 24;
constexpr int64_t kMaxKeptCheckpoints = 1'000;
constexpr int64_t kMaxThreads = 4'096;

void CheckInteger(Violations& out, const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  out.Add(field, absl::StrCat("is ", value, ", must be ", low, " to ", high));
}

// NaN and infinity are out of range too.
void CheckReal(Violations& out, const char* field, double value, bool inside, const char* range) {
  if (inside && std::isfinite(value)) return;
  out.Add(field, absl::StrCat("is ", value, ", must be ", range));
}

void CheckSizes(Violations& out, const TrainSpec& spec) {
  CheckInteger(out, "steps", spec.steps, 1, kMaxSteps);
  CheckInteger(out, "batch_size", spec.batch_size, 1, kMaxBatch);
  CheckInteger(out, "seq_len", spec.seq_len, 1, kMaxSeqLen);
  CheckInteger(out, "grad_accumulation", spec.grad_accumulation, 1, kMaxBatch);
  CheckInteger(out, "eval_every", spec.eval_every, 1, kMaxSteps);
  CheckInteger(out, "checkpoint_every", spec.checkpoint_every, 1, kMaxSteps);
  CheckInteger(out, "keep_checkpoints", spec.keep_checkpoints, 1, kMaxKeptCheckpoints);
  CheckInteger(out, "threads", spec.threads, 0, kMaxThreads);
  CheckInteger(out, "warmup_steps", spec.warmup_steps, 0, kMaxSteps);
  const bool sizes_fit = spec.batch_size >= 1 && spec.batch_size <= kMaxBatch &&
                         spec.seq_len >= 1 && spec.seq_len <= kMaxSeqLen;
  if (sizes_fit && spec.batch_size * spec.seq_len > kMaxMicroBatchTokens) {
    out.Add("batch_size", absl::StrCat("times seq_len is ", spec.batch_size * spec.seq_len,
                                       " tokens, limit ", kMaxMicroBatchTokens,
                                       " per micro-batch; raise grad_accumulation instead"));
  }
  if (spec.warmup_steps > 0 && spec.steps >= 1 && spec.warmup_steps >= spec.steps) {
    out.Add("warmup_steps",
            absl::StrCat("is ", spec.warmup_steps, ", must be less than steps (", spec.steps, ")"));
  }
}

void CheckOptimizer(Violations& out, const TrainSpec& spec) {
  CheckReal(out, "lr", spec.lr, spec.lr > 0 && spec.lr <= 10, "more than 0, at most 10");
  CheckReal(out, "min_lr_ratio", spec.min_lr_ratio,
            spec.min_lr_ratio >= 0 && spec.min_lr_ratio <= 1, "0 to 1");
  CheckReal(out, "wsd_decay_ratio", spec.wsd_decay_ratio,
            spec.wsd_decay_ratio >= 0 && spec.wsd_decay_ratio <= 1, "0 to 1");
  CheckReal(out, "weight_decay", spec.weight_decay,
            spec.weight_decay >= 0 && spec.weight_decay <= 10, "0 to 10");
  CheckReal(out, "beta1", spec.beta1, spec.beta1 >= 0 && spec.beta1 < 1, "0 or more, less than 1");
  CheckReal(out, "beta2", spec.beta2, spec.beta2 >= 0 && spec.beta2 < 1, "0 or more, less than 1");
  CheckReal(out, "epsilon", spec.epsilon, spec.epsilon > 0 && spec.epsilon <= 1,
            "more than 0, at most 1");
  CheckReal(out, "clip_norm", spec.clip_norm, spec.clip_norm >= 0, "0 (off) or more");
  CheckReal(out, "eval_ratio", spec.eval_ratio, spec.eval_ratio >= 0 && spec.eval_ratio <= 0.9,
            "0 to 0.9");
}

bool IsDeviceName(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return true;
  if (name.rfind("cuda:", 0) != 0 || name.size() < 6 || name.size() > 8) return false;
  return std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Falls from 1 at the first step after the warm-up to min_lr_ratio at the last step.
double Decayed(const TrainSpec& spec, int64_t position, int64_t last) {
  if (last <= 0) return 1.0;
  const double done = std::clamp(static_cast<double>(position) / static_cast<double>(last), 0., 1.);
  const double floor = spec.min_lr_ratio;
  switch (spec.schedule) {
    case LrSchedule::kConstant:
      return 1.0;
    case LrSchedule::kLinear:
    case LrSchedule::kWsd:
      return 1.0 - (1.0 - floor) * done;
    case LrSchedule::kCosine:
      return floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  }
  return 1.0;
}

}  // namespace

absl::Status CheckTrainSpec(const TrainSpec& spec) {
  Violations violations;
  CheckSizes(violations, spec);
  CheckOptimizer(violations, spec);
  if (!IsDeviceName(spec.device)) {
    violations.Add("device", "must be auto, cpu, cuda or cuda:N");
  }
  return violations.ToStatus();
}

double LearningRate(const TrainSpec& spec, int64_t step) {
  if (step < spec.warmup_steps) {
    return spec.lr * static_cast<double>(step + 1) / static_cast<double>(spec.warmup_steps);
  }
  int64_t start = spec.warmup_steps;
  if (spec.schedule == LrSchedule::kWsd) {
    const auto decay_steps =
        static_cast<int64_t>(std::ceil(spec.wsd_decay_ratio * static_cast<double>(spec.steps)));
    // The decay starts at the last step of the plateau, so the next step already has a lower rate.
    start = std::max(spec.warmup_steps, spec.steps - decay_steps - 1);
    if (step <= start) return spec.lr;
  }
  return spec.lr * Decayed(spec, step - start, spec.steps - 1 - start);
}

}  // namespace lfm2
