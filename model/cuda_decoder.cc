#include "model/cuda_decoder.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "model/layers/diagonal_ssm.h"
#include "model/layers/gated_mlp.h"
#include "model/layers/rope.h"

namespace lfm2 {
namespace {

// Tensors born under InferenceMode could not be written outside of it later.
struct PlainTensors {
  c10::InferenceMode mode{false};
  at::NoGradGuard no_grad;
};

int DtypeOf(at::ScalarType type) {
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16, "a GPU decodes in float32 or bfloat16");
  return type == at::kBFloat16 ? kLfm2CudaBf16 : kLfm2CudaF32;
}

// Keys, or values, of one layer in one block.
int64_t TileElements(const ModelConfig& config) {
  return config.num_key_value_heads * kLfm2CudaBlockTokens *
         lfm2_cuda_padded(static_cast<int>(config.head_dim));
}

// Null on the meta device, where LibTorch's own typed access throws.
template <typename T>
const T* DataOf(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

int Narrow(int64_t value) { return static_cast<int>(value); }

Lfm2CudaSampling SamplingOf(const CudaItem& item) {
  Lfm2CudaSampling out{};
  if (item.sampling == nullptr) return out;
  out.temperature = item.sampling->temperature;
  out.top_p = item.sampling->top_p;
  out.min_p = item.sampling->min_p;
  out.repetition_penalty = item.sampling->repetition_penalty;
  out.top_k = item.sampling->top_k;
  out.index = item.index;
  out.seed = item.sampling->seed;
  out.sample = 1;
  return out;
}

}  // namespace

class CudaDecoder::Sequence : public KvStore {
 public:
  Sequence(CudaDecoder& decoder, int32_t own_slot) : slot(own_slot), decoder_(decoder) {}
  ~Sequence() override {
    decoder_.free_blocks_.insert(decoder_.free_blocks_.end(), blocks.begin(), blocks.end());
    decoder_.free_slots_.push_back(slot);
    decoder_.NoteUsage();
  }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::pair<at::Tensor, at::Tensor> Append(int64_t layer, int64_t position, const at::Tensor& k,
                                           const at::Tensor& v) override;
  int64_t bytes() const override {
    return static_cast<int64_t>(blocks.size()) * decoder_.block_bytes_;
  }
  // Bits of all tokens in `history`, of which only what is new is looked at.
  std::span<const uint32_t> Seen(std::span<const int32_t> history, int64_t vocab);

  const int32_t slot;
  std::vector<int32_t> blocks;

 private:
  void UpdateTable(at::Device device);
  void Run(int (*copy)(Lfm2CudaContext*, const Lfm2CudaKvCopy*), int64_t layer, int64_t first,
           const at::Tensor& k, const at::Tensor& v) const;

  CudaDecoder& decoder_;
  at::Tensor table_;  // `blocks` on the device, perhaps without the last
  std::vector<uint32_t> seen_;
  size_t seen_tokens_ = 0;
};

void CudaDecoder::Sequence::UpdateTable(at::Device device) {
  const auto size = static_cast<int64_t>(blocks.size());
  if (table_.defined() && table_.size(0) == size) return;
  table_ = at::tensor(blocks, at::TensorOptions().dtype(at::kInt)).to(device);
}

void CudaDecoder::Sequence::Run(int (*copy)(Lfm2CudaContext*, const Lfm2CudaKvCopy*), int64_t layer,
                                int64_t first, const at::Tensor& k, const at::Tensor& v) const {
  const at::Tensor& pool = decoder_.kv_[static_cast<size_t>(layer)];
  const Lfm2CudaKv kv{pool[0].mutable_data_ptr(), pool[1].mutable_data_ptr(),
                      DataOf<int32_t>(table_), Narrow(table_.size(0))};
  const Lfm2CudaKvCopy args{
      DtypeOf(k.scalar_type()), Narrow(k.size(0)),    Narrow(first),        Narrow(k.size(1)),
      Narrow(k.size(2)),        k.mutable_data_ptr(), v.mutable_data_ptr(), kv};
  const int code = copy(decoder_.context_.get(), &args);
  TORCH_CHECK(code == 0, "copying keys and values: ", decoder_.f_.error_text(code));
}

std::pair<at::Tensor, at::Tensor> CudaDecoder::Sequence::Append(int64_t layer, int64_t position,
                                                                const at::Tensor& k,
                                                                const at::Tensor& v) {
  const int64_t all = position + k.size(0);
  TORCH_CHECK(all <= static_cast<int64_t>(blocks.size()) * kLfm2CudaBlockTokens,
              "no blocks are reserved for token ", all);
  UpdateTable(k.device());
  const at::Tensor new_k = k.contiguous(), new_v = v.contiguous();
  Run(decoder_.f_.kv_store, layer, position, new_k, new_v);
  if (position == 0) return {new_k, new_v};
  const at::Tensor all_k = at::empty({all, k.size(1), k.size(2)}, k.options());
  const at::Tensor all_v = at::empty_like(all_k);
  Run(decoder_.f_.kv_load, layer, 0, all_k, all_v);
  return {all_k, all_v};
}

std::span<const uint32_t> CudaDecoder::Sequence::Seen(std::span<const int32_t> history,
                                                      int64_t vocab) {
  seen_.resize(static_cast<size_t>((vocab + 31) / 32));
  for (; seen_tokens_ < history.size(); ++seen_tokens_) {
    const int32_t id = history[seen_tokens_];
    if (id >= 0 && id < vocab) seen_[static_cast<size_t>(id) / 32] |= 1U << (id % 32);
  }
  return seen_;
}

CudaDecoder::CudaDecoder(const Lfm2CudaFunctions& functions, CudaContext context,
                         const ModelConfig& config, std::shared_ptr<Weights> weights)
    : f_(functions),
      context_(std::move(context)),
      weights_(std::move(weights)),
      decoder_(config, weights_) {}

CudaDecoder::~CudaDecoder() = default;

absl::StatusOr<std::unique_ptr<CudaDecoder>> CudaDecoder::Make(const Lfm2CudaFunctions& functions,
                                                               const ModelConfig& config,
                                                               std::shared_ptr<Weights> weights,
                                                               const CudaDecoderOptions& options) {
  const PlainTensors plain;
  LFM2_ASSIGN_OR_RETURN(CudaContext context, OpenCudaContext(functions, options.device));
  std::unique_ptr<CudaDecoder> out(
      new CudaDecoder(functions, std::move(context), config, std::move(weights)));
  LFM2_RETURN_IF_ERROR(out->MakePools(options));
  CudaModel model = out->MakeModel();
  LFM2_ASSIGN_OR_RETURN(out->step_, DecodeStep::Make(functions, out->context_.get(),
                                                     std::move(model), options.step_rows));
  return out;
}

absl::Status CudaDecoder::MakePools(const CudaDecoderOptions& options) {
  const ModelConfig& config = decoder_.config();
  const at::TensorOptions typed =
      at::TensorOptions().device(weights_->device()).dtype(weights_->dtype());
  const auto attends =
      std::count(config.attention_layers.begin(), config.attention_layers.end(), true);
  block_bytes_ = attends * 2 * TileElements(config) *
                 static_cast<int64_t>(c10::elementSize(weights_->dtype()));
  if (attends > 0) blocks_ = options.kv_bytes / block_bytes_;
  if (attends > 0 && blocks_ == 0) {
    return Error(Reason::kConfigInvalid,
                 "kv_bytes is " + std::to_string(options.kv_bytes) + ", and one block of " +
                     std::to_string(kLfm2CudaBlockTokens) + " tokens takes " +
                     std::to_string(block_bytes_),
                 {{"key", "kv_bytes"}});
  }
  const int64_t d = config.hidden_size;
  for (const Layer& layer : config.Layers()) {
    at::Tensor kv, conv, ssm;
    for (const Stage& stage : layer) {
      for (const Branch& branch : stage.branches) {
        if (branch.kind == BlockKind::kAttention) {
          kv = at::empty({2, blocks_ * TileElements(config)}, typed);
        } else if (branch.kind == BlockKind::kShortConv) {
          conv = at::zeros({options.sequences, config.conv_kernel - 1, d}, typed);
        } else if (branch.kind == BlockKind::kDiagonalSsm) {
          ssm = at::zeros({options.sequences, config.ssm_state_size, d}, typed.dtype(at::kFloat));
        }
      }
    }
    kv_.push_back(kv);
    conv_.push_back(conv);
    ssm_.push_back(ssm);
  }
  for (int64_t i = blocks_ - 1; i >= 0; --i) free_blocks_.push_back(static_cast<int32_t>(i));
  for (int i = options.sequences - 1; i >= 0; --i) free_slots_.push_back(i);
  return absl::OkStatus();
}

const at::Tensor& CudaDecoder::Keep(at::Tensor tensor) {
  return kept_.emplace_back(std::move(tensor));
}

CudaModel CudaDecoder::MakeModel() {
  const ModelConfig& config = decoder_.config();
  CudaModel out;
  out.dtype = DtypeOf(weights_->dtype());
  out.vocab = Narrow(config.vocab_size);
  out.width = Narrow(config.hidden_size);
  out.taps = Narrow(config.conv_kernel);
  out.ssm_states = Narrow(config.ssm_state_size);
  out.eps = static_cast<float>(config.norm_eps);
  if (blocks_ > 0) {
    out.heads = Narrow(config.num_attention_heads);
    out.kv_heads = Narrow(config.num_key_value_heads);
    out.head_dim = Narrow(config.head_dim);
    out.frequencies = DataOf<float>(
        Keep(RopeFrequencies(config.head_dim, config.rope_theta, weights_->device()).contiguous()));
  }
  out.embedding = Keep((*weights_)["model.embed_tokens.weight"].contiguous()).const_data_ptr();
  out.head = Keep(decoder_.Head().contiguous()).const_data_ptr();
  out.final_norm =
      Keep((*weights_)[std::string(config.final_norm()) + ".weight"].contiguous()).const_data_ptr();
  const std::vector<Layer> layers = config.Layers();
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer);
    for (const Stage& stage : layers[layer]) {
      CudaStage& to = out.stages.emplace_back();
      to.norm =
          Keep((*weights_)[prefix + "." + stage.norm + ".weight"].contiguous()).const_data_ptr();
      for (const Branch& branch : stage.branches) {
        to.branches.push_back(MakeBranch(branch, static_cast<int64_t>(layer)));
      }
    }
  }
  return out;
}

CudaBranch CudaDecoder::MakeBranch(const Branch& branch, int64_t layer) {
  const Scope scope(*weights_, nullptr,
                    "model.layers." + std::to_string(layer) + "." + branch.prefix);
  switch (branch.kind) {
    case BlockKind::kAttention:
      return MakeAttention(scope, layer);
    case BlockKind::kShortConv:
      return MakeShortConv(scope, layer);
    case BlockKind::kDiagonalSsm:
      return MakeSsm(scope, layer);
    case BlockKind::kGatedMlp:
      return MakeMlp(scope, branch);
  }
  TORCH_CHECK(false, "layer ", layer, " has an unknown kind of block");
}

CudaLinear CudaDecoder::MakeLinear(const Scope& scope, const std::string& name) const {
  const at::Tensor& weight = scope[name + ".weight"];
  const at::Tensor bias = scope.Optional(name + ".bias");
  TORCH_CHECK(weight.is_contiguous() && (!bias.defined() || bias.is_contiguous()), name,
              " is not in rows");
  return {weight.const_data_ptr(), bias.defined() ? bias.const_data_ptr() : nullptr,
          Narrow(weight.size(1)), Narrow(weight.size(0))};
}

// One matrix of several, of which the weights become views: nothing is held twice.
CudaLinear CudaDecoder::Packed(const Scope& scope, const std::vector<std::string>& names) {
  std::vector<at::Tensor> parts;
  for (const std::string& name : names) {
    TORCH_CHECK(!scope.Optional(name + ".bias").defined(), name, " has a bias");
    parts.push_back(scope[name + ".weight"]);
  }
  const at::Tensor& packed = Keep(at::cat(parts));
  int64_t row = 0;
  for (const at::Tensor& part : parts) {
    for (auto& [name, tensor] : weights_->mutable_tensors()) {
      if (tensor.is_same(part)) tensor = packed.narrow(0, row, part.size(0));
    }
    row += part.size(0);
  }
  return {packed.const_data_ptr(), nullptr, Narrow(packed.size(1)), Narrow(packed.size(0))};
}

CudaAttention CudaDecoder::MakeAttention(const Scope& scope, int64_t layer) {
  CudaAttention out;
  out.qkv = Packed(scope, {"q_proj", "k_proj", "v_proj"});
  out.out = MakeLinear(scope, std::string(decoder_.config().attention_out_proj()));
  if (decoder_.config().qk_norm) {
    out.q_norm = Keep(scope["q_layernorm.weight"].contiguous()).const_data_ptr();
    out.k_norm = Keep(scope["k_layernorm.weight"].contiguous()).const_data_ptr();
  }
  const at::Tensor& pool = kv_[static_cast<size_t>(layer)];
  out.keys = pool[0].mutable_data_ptr();
  out.values = pool[1].mutable_data_ptr();
  return out;
}

CudaShortConv CudaDecoder::MakeShortConv(const Scope& scope, int64_t layer) {
  CudaShortConv out;
  out.in = MakeLinear(scope, "in_proj");
  out.out = MakeLinear(scope, "out_proj");
  out.weight = Keep(scope["conv.weight"].contiguous()).const_data_ptr();  // [d, 1, L]
  const at::Tensor bias = scope.Optional("conv.bias");
  if (bias.defined()) out.bias = Keep(bias.contiguous()).const_data_ptr();
  out.states = conv_[static_cast<size_t>(layer)].mutable_data_ptr();
  return out;
}

CudaSsmBlock CudaDecoder::MakeSsm(const Scope& scope, int64_t layer) {
  const SsmParameters ssm =
      DiscretizeSsm(scope["A_log"], scope["B"], scope["C"], scope["D"], scope["log_dt"]);
  const auto by_state = [&](const at::Tensor& tensor) {  // [d, N] to [N, d]
    return DataOf<float>(Keep(tensor.t().contiguous()));
  };
  CudaSsmBlock out;
  out.in = MakeLinear(scope, "in_proj");
  out.out = MakeLinear(scope, "out_proj");
  out.decay = by_state(at::exp(ssm.log_decay));
  out.input = by_state(ssm.dB);
  out.output = by_state(ssm.C);
  out.skip = DataOf<float>(Keep(ssm.D.contiguous()));
  out.states = static_cast<float*>(ssm_[static_cast<size_t>(layer)].mutable_data_ptr());
  return out;
}

CudaGatedMlp CudaDecoder::MakeMlp(const Scope& scope, const Branch& branch) {
  const GatedMlpNames& names = branch.prefix == "mlp" ? kLlamaMlpNames : kLfm2MlpNames;
  return {Packed(scope, {names.gate, names.up}), MakeLinear(scope, names.down)};
}

absl::StatusOr<std::unique_ptr<SequenceState>> CudaDecoder::NewState() {
  if (free_slots_.empty()) {
    return Error(Reason::kGpuOutOfMemory,
                 "the GPU holds the states of as many sequences as it has room for");
  }
  const PlainTensors plain;
  auto sequence = std::make_unique<Sequence>(*this, free_slots_.back());
  free_slots_.pop_back();
  const auto views = [&](const std::vector<at::Tensor>& pools) {
    std::vector<at::Tensor> out;
    for (const at::Tensor& pool : pools) {
      if (!pool.defined()) {
        out.emplace_back();
        continue;
      }
      const at::Tensor state = pool[sequence->slot];
      state.zero_();
      out.push_back(state.transpose(0, 1));
    }
    return out;
  };
  std::vector<at::Tensor> conv = views(conv_), ssm = views(ssm_);
  return std::make_unique<SequenceState>(std::move(sequence), std::move(conv), std::move(ssm));
}

absl::Status CudaDecoder::Reserve(SequenceState& state, int64_t tokens) {
  if (blocks_ == 0) return absl::OkStatus();
  std::vector<int32_t>& blocks = static_cast<Sequence*>(state.store())->blocks;
  const int64_t needed =
      (state.position() + tokens + kLfm2CudaBlockTokens - 1) / kLfm2CudaBlockTokens;
  const int64_t missing = needed - static_cast<int64_t>(blocks.size());
  if (missing <= 0) return absl::OkStatus();
  if (missing > static_cast<int64_t>(free_blocks_.size())) {
    return Error(Reason::kGpuOutOfMemory, "keys and values of this request need " +
                                              std::to_string(missing) + " more blocks of " +
                                              std::to_string(kLfm2CudaBlockTokens) + " tokens, " +
                                              std::to_string(free_blocks_.size()) + " of " +
                                              std::to_string(blocks_) + " are free");
  }
  blocks.insert(blocks.end(), free_blocks_.end() - missing, free_blocks_.end());
  free_blocks_.resize(free_blocks_.size() - static_cast<size_t>(missing));
  NoteUsage();
  return absl::OkStatus();
}

DecodeRow CudaDecoder::RowOf(const CudaItem& item) const {
  auto* sequence = static_cast<Sequence*>(item.state->store());
  DecodeRow row;
  row.token = item.token;
  row.position = static_cast<int32_t>(item.state->position());
  row.slot = sequence->slot;
  row.blocks = sequence->blocks;
  row.sampling = SamplingOf(item);
  row.allowed = item.allowed;
  if (item.sampling != nullptr && item.sampling->repetition_penalty != 1) {
    row.seen = sequence->Seen(item.history, decoder_.config().vocab_size);
  }
  return row;
}

absl::StatusOr<std::vector<CudaResult>> CudaDecoder::Step(std::span<const CudaItem> items) {
  std::vector<CudaResult> results;
  const auto most = static_cast<size_t>(step_->max_rows());
  for (size_t begin = 0; begin < items.size(); begin += most) {
    LFM2_RETURN_IF_ERROR(
        StepSome(items.subspan(begin, std::min(most, items.size() - begin)), results));
  }
  return results;
}

absl::Status CudaDecoder::StepSome(std::span<const CudaItem> items,
                                   std::vector<CudaResult>& results) {
  std::vector<DecodeRow> rows;
  for (const CudaItem& item : items) rows.push_back(RowOf(item));
  LFM2_RETURN_IF_ERROR(step_->Run(rows));
  for (size_t i = 0; i < items.size(); ++i) {
    const CudaItem& item = items[i];
    item.state->Advance(1);
    const Lfm2CudaChoice choice = step_->choices()[i];
    CudaResult& result = results.emplace_back();
    result.finite = choice.finite != 0;
    if (item.sampling == nullptr || !result.finite) continue;
    if (item.sampling->logprobs < 0) {
      result.sample = Sample{choice.id, 0, {}};
      continue;
    }
    LFM2_ASSIGN_OR_RETURN(const std::vector<float> logits, step_->ReadLogits(i));
    result.sample = SampleToken(logits, *item.sampling, item.history, item.index, item.allowed);
  }
  return absl::OkStatus();
}

}  // namespace lfm2
