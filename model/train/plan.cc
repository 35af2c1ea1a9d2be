// PlanTraining: computes the numbers of a run without running it.
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "model/train/loss.h"
#include "model/train/optimizer.h"
#include "model/train/trainer.h"
#include "model/train/training_data.h"

namespace lfm2 {
namespace {

constexpr int64_t kFloatBytes = 4;
// number of intermediates of size [T, d] x N / chunk that the scan's backward pass keeps
constexpr int64_t kScanCopies = 4;

// Number of values per token that the backward pass needs from one sub-block: the widths of the
// inputs and outputs of its matrix products.
int64_t ActivationsPerToken(const ModelConfig& config, BlockKind kind, int64_t seq_len) {
  const int64_t d = config.hidden_size;
  switch (kind) {
    case BlockKind::kAttention: {
      const int64_t heads = config.num_attention_heads, kv = config.num_key_value_heads;
      // q, k and v before and after norm and RoPE, repeated k and v, scores and probabilities.
      return 2 * d + (4 * heads + 4 * kv) * config.head_dim + 2 * heads * seq_len;
    }
    case BlockKind::kShortConv:
      return 8 * d;
    case BlockKind::kDiagonalSsm:
      return 8 * d + kScanCopies * d * (1 + config.ssm_state_size / 8);
    case BlockKind::kGatedMlp:
      return d + 4 * config.intermediate_size;
  }
  return 0;
}

int64_t OptimizerBytes(const ModelConfig& config, const TrainSpec& spec) {
  return MakeOptimizer({}, spec)->state_bytes_per_parameter() * config.ParameterCount();
}

int64_t MemoryBytes(const ModelConfig& config, const TrainSpec& spec, int64_t row_tokens) {
  const int64_t parameters = config.ParameterCount();
  const int64_t tokens = spec.batch_size * row_tokens;
  int64_t per_token = 2 * config.hidden_size;
  for (const Layer& layer : config.Layers()) {
    for (const Stage& stage : layer) {
      per_token += 3 * config.hidden_size;  // the norm's input and output, the residual sum
      for (const Branch& branch : stage.branches) {
        per_token += ActivationsPerToken(config, branch.kind, row_tokens);
      }
    }
  }
  // Logits of one chunk and their gradient; also the head's gradient, separate from the
  // parameter's.
  const int64_t head =
      2 * std::max(kLossChunkElements, config.vocab_size) + config.vocab_size * config.hidden_size;
  // 2: the parameters and their gradients.
  return OptimizerBytes(config, spec) + kFloatBytes * (2 * parameters + tokens * per_token + head);
}

}  // namespace

absl::StatusOr<TrainPlan> PlanTraining(const TrainRun& run) {
  LFM2_RETURN_IF_ERROR(CheckTrainSpec(run.spec));
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(run.model_dir));
  LFM2_ASSIGN_OR_RETURN(const TrainingData data, OpenTrainingData(run, config.vocab_size));
  TrainPlan plan;
  plan.dataset_tokens = static_cast<int64_t>(data.tokens.store.tokens().size());
  plan.eval_tokens = data.rows.eval_targets();
  plan.tokens_per_step = run.spec.batch_size * run.spec.grad_accumulation * run.spec.seq_len;
  plan.epochs = static_cast<double>(run.spec.steps * run.spec.batch_size) *
                static_cast<double>(run.spec.grad_accumulation) /
                static_cast<double>(data.rows.train_rows());
  plan.parameters = config.ParameterCount();
  plan.memory_bytes = MemoryBytes(config, run.spec, run.spec.seq_len);
  plan.checkpoint_bytes = kFloatBytes * plan.parameters + OptimizerBytes(config, run.spec);
  return plan;
}

}  // namespace lfm2
