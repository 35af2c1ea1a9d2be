#include "model/cpu/weights.h"

#include <cmath>
#include <initializer_list>
#include <map>
#include <new>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "model/formats/dequantize.h"

namespace lfm2 {
namespace {

constexpr int64_t kHeadDimMax = 512;  // the attention kernel's scratch is on the stack

// [rows][cols] to [cols][rows].
std::vector<float> Transposed(const std::vector<float>& in, int64_t rows) {
  const int64_t cols = static_cast<int64_t>(in.size()) / rows;
  std::vector<float> out(in.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      out[static_cast<size_t>(c * rows + r)] = in[static_cast<size_t>(r * cols + c)];
    }
  }
  return out;
}

}  // namespace

// Makes the parts of one CpuWeights, in the order of the config's layers.
class CpuWeightsLoader {
 public:
  CpuWeightsLoader(const CpuWeights::Source& source, const CpuWeights::Packed& packed,
                   ThreadPool& pool, CpuWeights& out)
      : source_(source), packed_(packed), pool_(pool), out_(out) {
    for (TensorSpec& spec : out.config_.TensorSpecs()) {
      const std::string name = spec.name;
      specs_.emplace(name, std::move(spec));
    }
  }

  absl::Status Run();

 private:
  absl::StatusOr<TensorView> View(const std::string& name) const;
  absl::StatusOr<std::vector<float>> Floats(const std::string& name) const;
  absl::StatusOr<std::vector<float>> FloatsIfAny(const std::string& name) const;
  absl::StatusOr<PackedMatrix> Matrix(std::initializer_list<std::string> names);
  absl::StatusOr<PackedMatrix> Vocabulary(const std::string& name);

  absl::StatusOr<CpuStage> LoadStage(const std::string& layer, const Stage& stage);
  absl::StatusOr<CpuBranch> LoadBranch(const std::string& layer, const Branch& branch);
  absl::StatusOr<CpuAttention> LoadAttention(const std::string& prefix);
  absl::StatusOr<CpuShortConv> LoadShortConv(const std::string& prefix);
  absl::StatusOr<CpuSsm> LoadSsm(const std::string& prefix);
  absl::StatusOr<CpuGatedMlp> LoadGatedMlp(const std::string& prefix);

  absl::StatusOr<PackedMatrix> Pack(std::span<const TensorView> parts, WeightFormat format);

  const CpuWeights::Source& source_;
  const CpuWeights::Packed& packed_;
  ThreadPool& pool_;
  CpuWeights& out_;
  std::map<std::string, TensorSpec> specs_;
  HugeArena arena_;  // matrices stand in it in the order in which they are used
  int64_t attentions_ = 0, convs_ = 0, ssms_ = 0;
};

absl::StatusOr<TensorView> CpuWeightsLoader::View(const std::string& name) const {
  const auto spec = specs_.find(name);
  if (spec == specs_.end()) return Error(Reason::kInternal, "the model has no tensor " + name);
  LFM2_ASSIGN_OR_RETURN(TensorView view, source_(spec->second));
  if (view.shape != spec->second.shape) {
    return Error(Reason::kWeightsMismatch,
                 name + " has the shape " + ShapeToString(view.shape) + ", expected " +
                     ShapeToString(spec->second.shape),
                 {{"tensor", name}});
  }
  if (!IsFloatingPoint(view.dtype) || view.dtype == DType::kF64) {
    return Error(Reason::kWeightsMismatch,
                 name + " is stored as " + SafetensorsName(view.dtype) +
                     ", expected a floating-point type of at most 32 bits",
                 {{"tensor", name}});
  }
  return view;
}

absl::StatusOr<std::vector<float>> CpuWeightsLoader::Floats(const std::string& name) const {
  LFM2_ASSIGN_OR_RETURN(const TensorView view, View(name));
  LFM2_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(view.shape));
  std::vector<float> out(static_cast<size_t>(elements));
  Dequantize(view, out);
  return out;
}

absl::StatusOr<std::vector<float>> CpuWeightsLoader::FloatsIfAny(const std::string& name) const {
  if (specs_.count(name) == 0) return std::vector<float>();
  return Floats(name);
}

absl::StatusOr<PackedMatrix> CpuWeightsLoader::Matrix(std::initializer_list<std::string> names) {
  std::vector<TensorView> parts;
  for (const std::string& name : names) {
    LFM2_ASSIGN_OR_RETURN(TensorView view, View(name));
    parts.push_back(std::move(view));
  }
  return Pack(parts, out_.options_.format);
}

absl::StatusOr<PackedMatrix> CpuWeightsLoader::Pack(std::span<const TensorView> parts,
                                                    WeightFormat format) {
  LFM2_ASSIGN_OR_RETURN(PackedMatrix matrix,
                        PackedMatrix::Pack(parts, format, out_.options_.isa, pool_, &arena_));
  for (const TensorView& part : parts) {
    if (packed_) packed_(part);
  }
  return matrix;
}

// The embedding or the head. Every token's row is looked up there and every logit comes from it, so
// four bits cost most quality here: int4 keeps it in int8, unless it is stored in four bits.
absl::StatusOr<PackedMatrix> CpuWeightsLoader::Vocabulary(const std::string& name) {
  LFM2_ASSIGN_OR_RETURN(const TensorView view, View(name));
  const bool widen = out_.options_.format == WeightFormat::kInt4 && view.dtype != DType::kQ4_0;
  return Pack({&view, 1}, widen ? WeightFormat::kInt8 : out_.options_.format);
}

absl::StatusOr<CpuAttention> CpuWeightsLoader::LoadAttention(const std::string& prefix) {
  LFM2_ASSIGN_OR_RETURN(
      PackedMatrix qkv,
      Matrix({prefix + ".q_proj.weight", prefix + ".k_proj.weight", prefix + ".v_proj.weight"}));
  const std::string out_name(out_.config_.attention_out_proj());
  LFM2_ASSIGN_OR_RETURN(PackedMatrix out, Matrix({prefix + "." + out_name + ".weight"}));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> q_norm, FloatsIfAny(prefix + ".q_layernorm.weight"));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> k_norm, FloatsIfAny(prefix + ".k_layernorm.weight"));
  return CpuAttention{attentions_++, std::move(qkv),    std::move(out),
                      out_name,      std::move(q_norm), std::move(k_norm)};
}

absl::StatusOr<CpuShortConv> CpuWeightsLoader::LoadShortConv(const std::string& prefix) {
  LFM2_ASSIGN_OR_RETURN(PackedMatrix in, Matrix({prefix + ".in_proj.weight"}));
  LFM2_ASSIGN_OR_RETURN(PackedMatrix out, Matrix({prefix + ".out_proj.weight"}));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> taps, Floats(prefix + ".conv.weight"));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> in_bias, FloatsIfAny(prefix + ".in_proj.bias"));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> bias, FloatsIfAny(prefix + ".conv.bias"));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> out_bias, FloatsIfAny(prefix + ".out_proj.bias"));
  return CpuShortConv{convs_++,           std::move(in),
                      std::move(out),     Transposed(taps, out_.config_.hidden_size),
                      std::move(in_bias), std::move(bias),
                      std::move(out_bias)};
}

// Zero-order hold in float64, rounded once: decay = exp(dt A), input = (decay - 1) / A * B.
absl::StatusOr<CpuSsm> CpuWeightsLoader::LoadSsm(const std::string& prefix) {
  LFM2_ASSIGN_OR_RETURN(PackedMatrix in, Matrix({prefix + ".in_proj.weight"}));
  LFM2_ASSIGN_OR_RETURN(PackedMatrix out, Matrix({prefix + ".out_proj.weight"}));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> a_log, Floats(prefix + ".A_log"));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> b, Floats(prefix + ".B"));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> c, Floats(prefix + ".C"));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> skip, Floats(prefix + ".D"));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> log_dt, Floats(prefix + ".log_dt"));
  const int64_t d = out_.config_.hidden_size, states = out_.config_.ssm_state_size;
  std::vector<float> decay(a_log.size()), input(a_log.size());
  for (int64_t channel = 0; channel < d; ++channel) {
    const double dt = std::exp(static_cast<double>(log_dt[static_cast<size_t>(channel)]));
    for (int64_t n = 0; n < states; ++n) {
      const auto at = static_cast<size_t>(channel * states + n);
      const double a = -std::exp(static_cast<double>(a_log[at]));
      decay[at] = static_cast<float>(std::exp(dt * a));
      input[at] = static_cast<float>(std::expm1(dt * a) / a * static_cast<double>(b[at]));
    }
  }
  return CpuSsm{
      ssms_++,          std::move(in),  std::move(out), Transposed(decay, d), Transposed(input, d),
      Transposed(c, d), std::move(skip)};
}

absl::StatusOr<CpuGatedMlp> CpuWeightsLoader::LoadGatedMlp(const std::string& prefix) {
  const bool short_names = specs_.count(prefix + ".w1.weight") != 0;
  const std::string gate = short_names ? "w1" : "gate_proj", up = short_names ? "w3" : "up_proj",
                    down = short_names ? "w2" : "down_proj";
  const auto weight = [&](const std::string& name) { return prefix + "." + name + ".weight"; };
  LFM2_ASSIGN_OR_RETURN(PackedMatrix gate_up, Matrix({weight(gate), weight(up)}));
  LFM2_ASSIGN_OR_RETURN(PackedMatrix narrow, Matrix({weight(down)}));
  return CpuGatedMlp{std::move(gate_up), std::move(narrow), gate, up, down};
}

absl::StatusOr<CpuBranch> CpuWeightsLoader::LoadBranch(const std::string& layer,
                                                       const Branch& branch) {
  const std::string prefix = layer + "." + branch.prefix;
  switch (branch.kind) {
    case BlockKind::kAttention: {
      LFM2_ASSIGN_OR_RETURN(CpuAttention block, LoadAttention(prefix));
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kShortConv: {
      LFM2_ASSIGN_OR_RETURN(CpuShortConv block, LoadShortConv(prefix));
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kDiagonalSsm: {
      LFM2_ASSIGN_OR_RETURN(CpuSsm block, LoadSsm(prefix));
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kGatedMlp: {
      LFM2_ASSIGN_OR_RETURN(CpuGatedMlp block, LoadGatedMlp(prefix));
      return CpuBranch{prefix, std::move(block)};
    }
  }
  return Error(Reason::kUnsupported, prefix + " is of a kind that has no CPU kernels");
}

absl::StatusOr<CpuStage> CpuWeightsLoader::LoadStage(const std::string& layer, const Stage& stage) {
  CpuStage out;
  out.norm_name = layer + "." + stage.norm;
  LFM2_ASSIGN_OR_RETURN(out.norm, Floats(out.norm_name + ".weight"));
  for (const Branch& branch : stage.branches) {
    LFM2_ASSIGN_OR_RETURN(CpuBranch loaded, LoadBranch(layer, branch));
    out.branches.push_back(std::move(loaded));
  }
  return out;
}

absl::Status CpuWeightsLoader::Run() {
  const ModelConfig& config = out_.config_;
  if (config.head_dim > kHeadDimMax) {
    return Error(Reason::kUnsupported, "head_dim is " + std::to_string(config.head_dim) +
                                           ", the CPU's attention takes at most " +
                                           std::to_string(kHeadDimMax));
  }
  LFM2_ASSIGN_OR_RETURN(out_.embedding_, Vocabulary("model.embed_tokens.weight"));
  if (!config.tie_word_embeddings) {
    LFM2_ASSIGN_OR_RETURN(out_.head_, Vocabulary("lm_head.weight"));
  }
  LFM2_ASSIGN_OR_RETURN(out_.final_norm_, Floats(std::string(config.final_norm()) + ".weight"));
  for (const Layer& layer : config.Layers()) {
    CpuLayer loaded;
    loaded.name = "model.layers." + std::to_string(out_.layers_.size());
    for (const Stage& stage : layer) {
      LFM2_ASSIGN_OR_RETURN(CpuStage part, LoadStage(loaded.name, stage));
      loaded.stages.push_back(std::move(part));
    }
    out_.layers_.push_back(std::move(loaded));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const CpuWeights>> CpuWeights::Load(const ModelConfig& config,
                                                                   const Source& source,
                                                                   const Options& options,
                                                                   ThreadPool& pool,
                                                                   const Packed& packed) {
  try {
    std::shared_ptr<CpuWeights> out(new CpuWeights());
    out->config_ = config;
    out->options_ = options;
    LFM2_RETURN_IF_ERROR(CpuWeightsLoader(source, packed, pool, *out).Run());
    return std::shared_ptr<const CpuWeights>(std::move(out));
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the weights do not fit in memory");
  }
}

absl::StatusOr<std::shared_ptr<const CpuWeights>> CpuWeights::FromArchive(
    const ModelConfig& config, const TensorArchive& archive, const Options& options,
    ThreadPool& pool) {
  LFM2_RETURN_IF_ERROR(CheckWeights(config, archive));
  const Source source = [&](const TensorSpec& spec) -> absl::StatusOr<TensorView> {
    const TensorView* view = archive.Find(spec.name);
    if (view == nullptr) {
      return Error(Reason::kWeightsMismatch, spec.name + " is absent", {{"tensor", spec.name}});
    }
    return *view;
  };
  return Load(config, source, options, pool,
              [&](const TensorView& view) { archive.ForgetPages(view); });
}

int64_t CpuWeights::bytes() const {
  const auto sum = [](std::initializer_list<const std::vector<float>*> vectors) {
    size_t floats = 0;
    for (const std::vector<float>* vector : vectors) floats += vector->size();
    return static_cast<int64_t>(floats * sizeof(float));
  };
  struct Sum {
    decltype(sum)& of;
    int64_t operator()(const CpuAttention& b) const {
      return b.qkv.bytes() + b.out.bytes() + of({&b.q_norm, &b.k_norm});
    }
    int64_t operator()(const CpuShortConv& b) const {
      return b.in.bytes() + b.out.bytes() + of({&b.taps, &b.in_bias, &b.bias, &b.out_bias});
    }
    int64_t operator()(const CpuSsm& b) const {
      return b.in.bytes() + b.out.bytes() + of({&b.decay, &b.input, &b.output, &b.skip});
    }
    int64_t operator()(const CpuGatedMlp& b) const { return b.gate_up.bytes() + b.down.bytes(); }
  };
  int64_t total = embedding_->bytes() + (head_.has_value() ? head_->bytes() : 0);
  total += sum({&final_norm_});
  for (const CpuLayer& layer : layers_) {
    for (const CpuStage& stage : layer.stages) {
      total += sum({&stage.norm});
      for (const CpuBranch& branch : stage.branches) total += std::visit(Sum{sum}, branch.block);
    }
  }
  return total;
}

}  // namespace lfm2
