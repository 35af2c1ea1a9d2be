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

// Transposes [rows][cols] to [cols][rows].
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
      std::string name = spec.name;
      specs_.emplace(std::move(name), std::move(spec));
    }
  }

  absl::Status Run();

 private:
  absl::StatusOr<TensorView> View(const std::string& name) const;
  absl::StatusOr<std::vector<float>> Floats(const std::string& name) const;
  absl::StatusOr<std::vector<float>> FloatsIfAny(const std::string& name) const;
  // Stacks linears of the layer that share an input: weight and bias of each role.
  absl::StatusOr<CpuLinear> Linear(std::initializer_list<Role> roles);
  // The layer's tensor with this role; IfAny: empty if the model does not have it.
  absl::StatusOr<std::vector<float>> Values(Role role) const;
  absl::StatusOr<std::vector<float>> ValuesIfAny(Role role) const;
  absl::StatusOr<std::vector<float>> Bias(Role role) const;
  std::string Module(Role role) const { return out_.config_.Module(role, layer_); }
  absl::StatusOr<PackedMatrix> Vocabulary(const std::string& name);

  absl::StatusOr<CpuStage> LoadStage(const Stage& stage);
  absl::StatusOr<CpuBranch> LoadBranch(const Branch& branch);
  absl::StatusOr<CpuAttention> LoadAttention();
  absl::StatusOr<CpuShortConv> LoadShortConv();
  absl::StatusOr<CpuSsm> LoadSsm();
  absl::StatusOr<CpuGatedMlp> LoadGatedMlp();

  absl::StatusOr<PackedMatrix> Pack(std::span<const TensorView> parts, WeightFormat format);

  const CpuWeights::Source& source_;
  const CpuWeights::Packed& packed_;
  ThreadPool& pool_;
  CpuWeights& out_;
  std::map<std::string, TensorSpec> specs_;
  HugeArena arena_;     // holds the matrices in the order in which they are used
  int64_t layer_ = -1;  // the layer being loaded
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

absl::StatusOr<std::vector<float>> CpuWeightsLoader::Values(Role role) const {
  return Floats(out_.config_.Weight(role, layer_));
}

absl::StatusOr<std::vector<float>> CpuWeightsLoader::ValuesIfAny(Role role) const {
  return FloatsIfAny(out_.config_.Weight(role, layer_));
}

absl::StatusOr<std::vector<float>> CpuWeightsLoader::Bias(Role role) const {
  return FloatsIfAny(out_.config_.Bias(role, layer_));
}

absl::StatusOr<CpuLinear> CpuWeightsLoader::Linear(std::initializer_list<Role> roles) {
  std::vector<TensorView> weights;
  std::vector<CpuPart> parts;
  std::vector<float> bias;
  for (const Role role : roles) {
    LFM2_ASSIGN_OR_RETURN(TensorView weight, View(out_.config_.Weight(role, layer_)));
    parts.push_back({weight.shape[0], Module(role)});
    weights.push_back(std::move(weight));
    LFM2_ASSIGN_OR_RETURN(const std::vector<float> values, Bias(role));
    bias.insert(bias.end(), values.begin(), values.end());
  }
  LFM2_ASSIGN_OR_RETURN(PackedMatrix matrix, Pack(weights, out_.options_.format));
  if (!bias.empty() && bias.size() != static_cast<size_t>(matrix.rows())) {
    return Error(Reason::kUnsupported,
                 "only some of the linears stacked with " + parts[0].probe + " have a bias");
  }
  return CpuLinear{std::move(matrix), std::move(bias), {}, std::move(parts)};
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

// The embedding or the head. It is used for every input token and every logit, so four bits reduce
// the quality most here: int4 keeps it in int8, unless it is stored in four bits.
absl::StatusOr<PackedMatrix> CpuWeightsLoader::Vocabulary(const std::string& name) {
  LFM2_ASSIGN_OR_RETURN(const TensorView view, View(name));
  const bool widen = out_.options_.format == WeightFormat::kInt4 && view.dtype != DType::kQ4_0;
  return Pack({&view, 1}, widen ? WeightFormat::kInt8 : out_.options_.format);
}

absl::StatusOr<CpuAttention> CpuWeightsLoader::LoadAttention() {
  LFM2_ASSIGN_OR_RETURN(CpuLinear qkv, Linear({Role::kQuery, Role::kKey, Role::kValue}));
  LFM2_ASSIGN_OR_RETURN(CpuLinear out, Linear({Role::kAttentionOut}));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> q_norm, ValuesIfAny(Role::kQueryNorm));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> k_norm, ValuesIfAny(Role::kKeyNorm));
  return CpuAttention{attentions_++,         std::move(qkv),    std::move(out),
                      std::move(q_norm),     std::move(k_norm), Module(Role::kQueryNorm),
                      Module(Role::kKeyNorm)};
}

absl::StatusOr<CpuShortConv> CpuWeightsLoader::LoadShortConv() {
  LFM2_ASSIGN_OR_RETURN(CpuLinear in, Linear({Role::kConvIn}));
  LFM2_ASSIGN_OR_RETURN(CpuLinear out, Linear({Role::kConvOut}));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> taps, Values(Role::kConv));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> bias, Bias(Role::kConv));
  return CpuShortConv{convs_++,        std::move(in),
                      std::move(out),  Transposed(taps, out_.config_.hidden_size),
                      std::move(bias), Module(Role::kConv)};
}

// Zero-order hold, computed in float64 and rounded once: decay = exp(dt A), input = (decay - 1) / A
// * B.
absl::StatusOr<CpuSsm> CpuWeightsLoader::LoadSsm() {
  LFM2_ASSIGN_OR_RETURN(CpuLinear in, Linear({Role::kSsmIn}));
  LFM2_ASSIGN_OR_RETURN(CpuLinear out, Linear({Role::kSsmOut}));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> a_log, Values(Role::kSsmALog));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> b, Values(Role::kSsmB));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> c, Values(Role::kSsmC));
  LFM2_ASSIGN_OR_RETURN(std::vector<float> skip, Values(Role::kSsmD));
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> log_dt, Values(Role::kSsmLogDt));
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

absl::StatusOr<CpuGatedMlp> CpuWeightsLoader::LoadGatedMlp() {
  LFM2_ASSIGN_OR_RETURN(CpuLinear gate_up, Linear({Role::kGate, Role::kUp}));
  LFM2_ASSIGN_OR_RETURN(CpuLinear down, Linear({Role::kDown}));
  return CpuGatedMlp{std::move(gate_up), std::move(down)};
}

absl::StatusOr<CpuBranch> CpuWeightsLoader::LoadBranch(const Branch& branch) {
  const std::string prefix = LayerName(layer_) + "." + branch.prefix;
  switch (branch.kind) {
    case BlockKind::kAttention: {
      LFM2_ASSIGN_OR_RETURN(CpuAttention block, LoadAttention());
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kShortConv: {
      LFM2_ASSIGN_OR_RETURN(CpuShortConv block, LoadShortConv());
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kDiagonalSsm: {
      LFM2_ASSIGN_OR_RETURN(CpuSsm block, LoadSsm());
      return CpuBranch{prefix, std::move(block)};
    }
    case BlockKind::kGatedMlp: {
      LFM2_ASSIGN_OR_RETURN(CpuGatedMlp block, LoadGatedMlp());
      return CpuBranch{prefix, std::move(block)};
    }
  }
  return Error(Reason::kUnsupported, prefix + " is a kind of block without CPU kernels");
}

absl::StatusOr<CpuStage> CpuWeightsLoader::LoadStage(const Stage& stage) {
  CpuStage out;
  out.norm_name = Module(stage.norm);
  LFM2_ASSIGN_OR_RETURN(out.norm, Values(stage.norm));
  for (const Branch& branch : stage.branches) {
    LFM2_ASSIGN_OR_RETURN(CpuBranch loaded, LoadBranch(branch));
    out.branches.push_back(std::move(loaded));
  }
  return out;
}

absl::Status CpuWeightsLoader::Run() {
  const ModelConfig& config = out_.config_;
  if (config.head_dim > kHeadDimMax) {
    return Error(Reason::kUnsupported, "head_dim is " + std::to_string(config.head_dim) +
                                           ", but attention on the CPU supports at most " +
                                           std::to_string(kHeadDimMax));
  }
  LFM2_ASSIGN_OR_RETURN(PackedMatrix head, Vocabulary(config.Weight(Role::kEmbedding)));
  if (!config.tie_word_embeddings) {
    out_.embedding_ = std::move(head);
    LFM2_ASSIGN_OR_RETURN(head, Vocabulary(config.Weight(Role::kHead)));
  }
  out_.head_ = CpuLinear{std::move(head), {}, {}, {{config.vocab_size, ""}}};
  LFM2_ASSIGN_OR_RETURN(out_.final_norm_, Values(Role::kFinalNorm));
  for (const Layer& layer : config.Layers()) {
    CpuLayer loaded;
    loaded.name = LayerName(++layer_);
    for (const Stage& stage : layer) {
      LFM2_ASSIGN_OR_RETURN(CpuStage part, LoadStage(stage));
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
      return b.in.bytes() + b.out.bytes() + of({&b.taps, &b.bias});
    }
    int64_t operator()(const CpuSsm& b) const {
      return b.in.bytes() + b.out.bytes() + of({&b.decay, &b.input, &b.output, &b.skip});
    }
    int64_t operator()(const CpuGatedMlp& b) const { return b.gate_up.bytes() + b.down.bytes(); }
  };
  int64_t total = head_->bytes() + (embedding_.has_value() ? embedding_->bytes() : 0);
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
