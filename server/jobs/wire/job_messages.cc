#include "server/jobs/wire/job_messages.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

// v1's enumerations name the same values in the same order, after an UNSPECIFIED.
static_assert(v1::JobKind_MAX == static_cast<int>(JobKind::kExport) + 1);
static_assert(v1::JobState_MAX == static_cast<int>(JobState::kQuarantined) + 1);
static_assert(v1::ExportFormat_MAX == static_cast<int>(ExportFormat::kSafetensors) + 1);
static_assert(v1::TensorReport::Fate_MAX == static_cast<int>(TensorFate::kWrongShape) + 1);
static_assert(v1::LrSchedule_MAX == static_cast<int>(LrSchedule::kWsd) + 1);

template <class Message, class Plain>
Message After(Plain value) {
  return static_cast<Message>(static_cast<int>(value) + 1);
}

template <class Plain, class Message>
std::optional<Plain> Before(Message value, Message max) {
  if (value <= 0 || value > max) return std::nullopt;
  return static_cast<Plain>(static_cast<int>(value) - 1);
}

constexpr const char* kDtypes[] = {"auto", "float32", "bfloat16"};
static_assert(static_cast<int>(TrainDtype::kBfloat16) == 2);

std::optional<TrainDtype> DtypeByName(std::string_view name) {
  for (int i = 0; i < 3; ++i) {
    if (name == kDtypes[i]) return static_cast<TrainDtype>(i);
  }
  return std::nullopt;
}

// The optional fields of a shape, X(v1's name, ours), and of a run's options: one list for both
// directions.
// clang-format off
#define LFM2_SHAPE_FIELDS(X)                                                                  \
  X(vocab_size, vocab_size) X(d_model, hidden_size) X(n_layers, num_layers)                   \
  X(n_heads, num_heads) X(n_kv_heads, num_kv_heads) X(intermediate_size, intermediate_size)   \
  X(ssm_state_size, ssm_state_size) X(attn_every, attn_every) X(conv_kernel, conv_kernel)     \
  X(parallel_residual, parallel_residual) X(tie_word_embeddings, tie_word_embeddings)         \
  X(rope_theta, rope_theta) X(norm_eps, norm_eps)

#define LFM2_TRAIN_FIELDS(X)                                                                  \
  X(steps) X(batch_size) X(seq_len) X(grad_accumulation) X(lr) X(min_lr_ratio)                \
  X(warmup_steps) X(wsd_decay_ratio) X(weight_decay) X(beta1) X(beta2) X(epsilon)             \
  X(clip_norm) X(eval_ratio) X(eval_every) X(checkpoint_every) X(keep_checkpoints) X(seed)    \
  X(device) X(threads)
// clang-format on

}  // namespace

v1::JobKind ToProto(JobKind kind) { return After<v1::JobKind>(kind); }
std::optional<JobKind> FromProto(v1::JobKind kind) {
  return Before<JobKind>(kind, v1::JobKind_MAX);
}

v1::JobState ToProto(JobState state) { return After<v1::JobState>(state); }
std::optional<JobState> FromProto(v1::JobState state) {
  return Before<JobState>(state, v1::JobState_MAX);
}

v1::ExportFormat ToProto(ExportFormat format) { return After<v1::ExportFormat>(format); }
std::optional<ExportFormat> FromProto(v1::ExportFormat format) {
  return Before<ExportFormat>(format, v1::ExportFormat_MAX);
}

v1::TensorReport::Fate ToProto(TensorFate fate) { return After<v1::TensorReport::Fate>(fate); }
std::optional<TensorFate> FromProto(v1::TensorReport::Fate fate) {
  return Before<TensorFate>(fate, v1::TensorReport::Fate_MAX);
}

v1::StepMetrics ToProto(const StepMetrics& metrics) {
  v1::StepMetrics out;
  out.set_step(metrics.step);
  out.set_loss(metrics.loss);
  out.set_lr(metrics.lr);
  out.set_grad_norm(metrics.grad_norm);
  out.set_tokens(metrics.tokens);
  out.set_tokens_per_second(metrics.tokens_per_second);
  out.set_step_ms(metrics.step_ms);
  return out;
}

StepMetrics FromProto(const v1::StepMetrics& metrics) {
  return {metrics.step(),      metrics.loss(),   metrics.lr(),
          metrics.grad_norm(), metrics.tokens(), metrics.tokens_per_second(),
          metrics.step_ms()};
}

v1::EvalMetrics ToProto(const EvalMetrics& metrics) {
  v1::EvalMetrics out;
  out.set_step(metrics.step);
  out.set_loss(metrics.loss);
  out.set_tokens(metrics.tokens);
  return out;
}

EvalMetrics FromProto(const v1::EvalMetrics& metrics) {
  return {metrics.step(), metrics.loss(), metrics.tokens()};
}

v1::CheckpointSaved ToProto(const CheckpointInfo& checkpoint) {
  v1::CheckpointSaved out;
  out.set_step(checkpoint.step);
  out.set_name(checkpoint.name);
  return out;
}

CheckpointInfo FromProto(const v1::CheckpointSaved& checkpoint) {
  return {checkpoint.step(), checkpoint.name()};
}

v1::Progress ToProto(const Progress& progress) {
  v1::Progress out;
  out.set_done(progress.done);
  out.set_total(progress.total);
  out.set_what(progress.what);
  return out;
}

Progress FromProto(const v1::Progress& progress) {
  return {progress.done(), progress.total(), progress.what()};
}

v1::ExportedFile ToProto(const ExportedFile& file) {
  v1::ExportedFile out;
  out.set_name(file.name);
  out.set_bytes(file.bytes);
  out.set_sha256(file.sha256);
  return out;
}

ExportedFile FromProto(const v1::ExportedFile& file) {
  return {file.name(), file.bytes(), file.sha256()};
}

v1::NamedDataset ToProto(const NamedFile& file) {
  v1::NamedDataset out;
  out.set_name(file.name);
  out.set_dataset(file.dataset);
  return out;
}

NamedFile FromProto(const v1::NamedDataset& file) { return {file.name(), file.dataset()}; }

v1::ModelShape ToProto(const ModelShape& shape) {
  v1::ModelShape out;
  if (shape.architecture) out.set_architecture(NameOf(*shape.architecture));
#define LFM2_SET(theirs, ours) \
  if (shape.ours) out.set_##theirs(*shape.ours);
  LFM2_SHAPE_FIELDS(LFM2_SET)
#undef LFM2_SET
  return out;
}

void FromProto(const v1::ModelShape& shape, ModelShape& out, FieldFault fault) {
  if (shape.has_architecture()) {
    out.architecture = ArchitectureByName(shape.architecture());
    if (!out.architecture) {
      fault("architecture",
            absl::StrCat("is \"", shape.architecture(), "\", must be ", ArchitectureNames()));
    }
  }
#define LFM2_GET(theirs, ours) \
  if (shape.has_##theirs()) out.ours = shape.theirs();
  LFM2_SHAPE_FIELDS(LFM2_GET)
#undef LFM2_GET
}

v1::TrainOptions ToProto(const TrainSpec& spec) {
  v1::TrainOptions out;
#define LFM2_SET(field) out.set_##field(spec.field);
  LFM2_TRAIN_FIELDS(LFM2_SET)
#undef LFM2_SET
  out.set_schedule(After<v1::LrSchedule>(spec.schedule));
  out.set_dtype(kDtypes[static_cast<int>(spec.dtype)]);
  return out;
}

void FromProto(const v1::TrainOptions& options, TrainSpec& out, FieldFault fault) {
#define LFM2_GET(field) \
  if (options.has_##field()) out.field = options.field();
  LFM2_TRAIN_FIELDS(LFM2_GET)
#undef LFM2_GET
  if (options.schedule() != v1::LR_SCHEDULE_UNSPECIFIED) {
    const auto schedule = Before<LrSchedule>(options.schedule(), v1::LrSchedule_MAX);
    if (!schedule) {
      fault("schedule",
            absl::StrCat("is ", static_cast<int>(options.schedule()), ", which is not a schedule"));
    }
    out.schedule = schedule.value_or(out.schedule);
  }
  if (options.has_dtype()) {
    const auto dtype = DtypeByName(options.dtype());
    if (!dtype) {
      fault("dtype",
            absl::StrCat("is \"", options.dtype(), "\", must be auto, float32 or bfloat16"));
    }
    out.dtype = dtype.value_or(out.dtype);
  }
}

}  // namespace lfm2
