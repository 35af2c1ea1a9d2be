#include "model/cpu/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cpu/pass.h"

namespace lfm2 {
namespace {

// theta^(-2i / head_dim), in float32 as in transformers, so that large positions round the same
// way.
std::vector<float> RopeFrequencies(const ModelConfig& config) {
  std::vector<float> out;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    out.push_back(1.0F / std::pow(static_cast<float>(config.rope_theta), exponent));
  }
  return out;
}

absl::Status CheckSpans(std::span<const CpuSpan> spans) {
  for (const CpuSpan& span : spans) {
    const auto tokens = static_cast<int64_t>(span.tokens.size());
    if (tokens == 0 || span.state == nullptr || !span.state->IsReserved(tokens)) {
      return Error(Reason::kInternal, "a span of " + std::to_string(tokens) +
                                          " tokens has no state with space reserved");
    }
    if (span.drafted < 0 || span.drafted >= tokens) {
      return Error(Reason::kInternal, std::to_string(span.drafted) + " of a span's " +
                                          std::to_string(tokens) + " tokens cannot be drafted");
    }
  }
  return absl::OkStatus();
}

bool AnyState(const CpuStage& stage) {
  return std::any_of(stage.branches.begin(), stage.branches.end(),
                     [](const CpuBranch& branch) { return branch.has_state(); });
}

}  // namespace

void CpuPass::Probe(const std::string& name, const float* values,
                    const std::vector<int64_t>& shape_of) const {
  if (probes == nullptr) return;
  size_t size = 1;
  for (const int64_t n : shape_of) size *= static_cast<size_t>(n);
  (*probes)(name, {values, size}, shape_of);
}

void CpuPass::ProbeColumns(const std::string& name, const float* values, int64_t stride,
                           int64_t begin, int64_t width) const {
  if (probes == nullptr) return;
  float* copy = Room(work.probe, rows * width);
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(values + row * stride + begin, width, copy + row * width);
  }
  Probe(name, copy, {rows, width});
}

CpuDecoder::CpuDecoder(std::shared_ptr<const CpuWeights> weights, ThreadPool& pool)
    : weights_(std::move(weights)),
      pool_(pool),
      shape_(StateShape::Of(weights_->config(), weights_->kv_type())),
      kernels_(LayerKernelsFor(weights_->isa())),
      work_(std::make_unique<CpuWorkspace>()) {
  if (shape_.attentions > 0) rope_frequencies_ = RopeFrequencies(weights_->config());
}

CpuDecoder::~CpuDecoder() = default;

absl::StatusOr<std::span<const float>> CpuDecoder::Forward(std::span<const CpuSpan> spans,
                                                           const CpuProbeSink* probes) {
  LFM2_RETURN_IF_ERROR(CheckSpans(spans));
  CpuPass pass{.spans = spans,
               .begins = {},
               .checkpoints = {},
               .row_span = {},
               .logit_rows = {},
               .tiles = {},
               .probes = probes,
               .kernels = kernels_,
               .shape = shape_,
               .work = *work_,
               .pool = pool_};
  Prepare(spans, pass);
  Embed(pass);
  RunLayers(pass);
  const std::span<const float> logits = Logits(pass);
  for (const CpuSpan& span : spans) span.state->Advance(static_cast<int64_t>(span.tokens.size()));
  return logits;
}

void CpuDecoder::Prepare(std::span<const CpuSpan> spans, CpuPass& pass) {
  for (size_t s = 0; s < spans.size(); ++s) {
    const auto tokens = static_cast<int64_t>(spans[s].tokens.size());
    pass.begins.push_back(pass.rows);
    pass.row_span.insert(pass.row_span.end(), spans[s].tokens.size(), static_cast<int64_t>(s));
    pass.checkpoints.push_back(spans[s].state->AddCheckpoints(tokens));
    spans[s].state->BeginTrail(tokens, spans[s].drafted);
    const LogitRows wanted = spans[s].logits;
    const int64_t first = wanted == LogitRows::kAll ? 0 : tokens - 1 - spans[s].drafted;
    for (int64_t i = first; wanted != LogitRows::kNone && i < tokens; ++i) {
      pass.logit_rows.push_back(pass.rows + i);
    }
    pass.rows += tokens;
  }
  if (rope_frequencies_.empty()) return;
  const auto half = static_cast<int64_t>(rope_frequencies_.size());
  float* cos = Room(work_->cos, pass.rows * half);
  float* sin = Room(work_->sin, pass.rows * half);
  pool_.ParallelFor(pass.rows, GrainOf(half * 16), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto position = static_cast<float>(pass.position(row));
      for (int64_t i = 0; i < half; ++i) {
        const float angle = position * rope_frequencies_[static_cast<size_t>(i)];
        cos[row * half + i] = std::cos(angle);
        sin[row * half + i] = std::sin(angle);
      }
    }
  });
  PlanAttention(weights_->config(), pass);
}

void CpuDecoder::Embed(const CpuPass& pass) {
  const int64_t d = weights_->config().hidden_size;
  float* x = Room(work_->x, pass.rows * d);
  pool_.ParallelFor(pass.rows, GrainOf(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto s = static_cast<size_t>(pass.row_span[static_cast<size_t>(row)]);
      const int32_t token = pass.spans[s].tokens[static_cast<size_t>(row - pass.begins[s])];
      weights_->embedding().Row(token, {x + row * d, static_cast<size_t>(d)});
    }
  });
  pass.Probe(weights_->config().Module(Role::kEmbedding), x, {pass.rows, d});
}

void CpuDecoder::RunLayers(CpuPass& pass) {
  const std::vector<CpuLayer>& layers = weights_->layers();
  for (const CpuLayer& layer : layers) {
    const bool last = &layer == &layers.back();
    for (auto stage = layer.stages.begin(); stage != layer.stages.end(); ++stage) {
      // States and later tokens do not depend on the remaining stages, so these are computed only
      // for the rows that need logits.
      if (last && pass.probes == nullptr && std::none_of(stage, layer.stages.end(), AnyState)) {
        KeepLogitRows(pass);
        if (pass.rows == 0) return;
      }
      RunStage(pass, *stage);
      stages_run_.fetch_add(1, std::memory_order_relaxed);
    }
    if (pass.probes == nullptr) continue;
    AddPending(pass);
    pass.Probe(layer.name, work_->x.data(), {pass.rows, weights_->config().hidden_size});
  }
}

void CpuDecoder::RunStage(CpuPass& pass, const CpuStage& stage) {
  AddAndNorm(pass, stage.norm);
  pass.Probe(stage.norm_name, work_->normed.data(), {pass.rows, weights_->config().hidden_size});
  for (const CpuBranch& branch : stage.branches) {
    AddPending(pass);
    RunBranch(pass, branch);
    pass.pending = true;
  }
}

void CpuDecoder::RunBranch(CpuPass& pass, const CpuBranch& branch) {
  if (const auto* attention = std::get_if<CpuAttention>(&branch.block)) {
    RunAttention(weights_->config(), *attention, pass);
  } else if (const auto* conv = std::get_if<CpuShortConv>(&branch.block)) {
    RunShortConv(*conv, pass);
  } else if (const auto* ssm = std::get_if<CpuSsm>(&branch.block)) {
    RunSsm(*ssm, branch.prefix, pass);
  } else {
    RunGatedMlp(pass, std::get<CpuGatedMlp>(branch.block));
  }
}

void CpuDecoder::RunGatedMlp(CpuPass& pass, const CpuGatedMlp& mlp) {
  const int64_t width = mlp.down.cols(), rows = pass.rows;
  float* wide = Room(work_->wide, rows * 2 * width);
  float* middle = Room(work_->middle, rows * width);
  float* out = Room(work_->out, rows * mlp.down.rows());
  mlp.gate_up.Run(work_->normed.data(), wide, pass);
  pool_.ParallelFor(rows, GrainOf(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* gate = wide + row * 2 * width;
      kernels_.silu_mul(gate, gate + width, width, middle + row * width);
    }
  });
  mlp.down.Run(middle, out, pass);
}

void CpuDecoder::AddPending(CpuPass& pass) {
  if (!pass.pending) return;
  const int64_t d = weights_->config().hidden_size;
  pool_.ParallelFor(pass.rows, GrainOf(d), [&](int64_t begin, int64_t end) {
    kernels_.add(work_->out.data() + begin * d, (end - begin) * d, work_->x.data() + begin * d);
  });
  pass.pending = false;
}

void CpuDecoder::AddAndNorm(CpuPass& pass, const std::vector<float>& weight) {
  const int64_t d = weights_->config().hidden_size;
  const auto eps = static_cast<float>(weights_->config().norm_eps);
  float* normed = Room(work_->normed, pass.rows * d);
  float* x = work_->x.data();
  const float* out = pass.pending ? work_->out.data() : nullptr;
  pool_.ParallelFor(pass.rows, GrainOf(d), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * d; at < end * d; at += d) {
      if (out != nullptr) kernels_.add(out + at, d, x + at);
      kernels_.rms_norm(x + at, weight.data(), d, eps, normed + at);
    }
  });
  pass.pending = false;
}

void CpuDecoder::KeepLogitRows(CpuPass& pass) {
  if (pass.only_logit_rows) return;
  AddPending(pass);
  const int64_t d = weights_->config().hidden_size;
  float* x = work_->x.data();
  int64_t kept = 0;
  for (const int64_t row : pass.logit_rows) {
    if (row != kept) std::copy_n(x + row * d, d, x + kept * d);
    ++kept;
  }
  pass.rows = kept;
  pass.only_logit_rows = true;
}

std::span<const float> CpuDecoder::Logits(CpuPass& pass) {
  const int64_t d = weights_->config().hidden_size, vocab = weights_->config().vocab_size;
  if (pass.probes != nullptr) {
    AddAndNorm(pass, weights_->final_norm());
    pass.Probe(weights_->config().Module(Role::kFinalNorm), work_->normed.data(), {pass.rows, d});
  }
  KeepLogitRows(pass);
  if (pass.rows == 0) return {};
  AddAndNorm(pass, weights_->final_norm());
  float* logits = Room(work_->logits, pass.rows * vocab);
  weights_->head().Run(work_->normed.data(), logits, pass);
  return {logits, static_cast<size_t>(pass.rows * vocab)};
}

}  // namespace lfm2
