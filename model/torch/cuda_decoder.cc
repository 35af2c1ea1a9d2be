#include "model/torch/cuda_decoder.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/torch/plain_tensors.h"

namespace lfm2 {
namespace {

// Number of key elements of one layer in one block; there are as many value elements.
int64_t TileElements(const ModelConfig& config) {
  return config.num_key_value_heads * kLfm2CudaBlockTokens *
         lfm2_cuda_padded(static_cast<int>(config.head_dim));
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

// Releases memory that LibTorch has freed but still holds, which may be most of the device's
// memory.
MemoryReserve TorchsReserve(at::Device device) {
  if (!device.is_cuda()) return nullptr;
  return [] { at::getDeviceAllocator(at::kCUDA)->emptyCache(); };
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
  // A bit set of the tokens in `history`; reads only tokens that are new since the last call.
  std::span<const uint32_t> Seen(std::span<const int32_t> history, int64_t vocab);

  const int32_t slot;
  std::vector<int32_t> blocks;

 private:
  void UpdateTable(at::Device device);
  void Run(int (*copy)(Lfm2CudaContext*, const Lfm2CudaKvCopy*), int64_t layer, int64_t first,
           const at::Tensor& k, const at::Tensor& v) const;

  CudaDecoder& decoder_;
  at::Tensor table_;  // `blocks` on the device; may lack the last ones
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
  const at::Tensor& pool = decoder_.pools_.kv[static_cast<size_t>(layer)];
  const Lfm2CudaKv kv{pool[0].mutable_data_ptr(), pool[1].mutable_data_ptr(),
                      DataOf<int32_t>(table_), Narrow(table_.size(0))};
  const Lfm2CudaKvCopy args{
      CudaDtype(k.scalar_type()), Narrow(k.size(0)),    Narrow(first),        Narrow(k.size(1)),
      Narrow(k.size(2)),          k.mutable_data_ptr(), v.mutable_data_ptr(), kv};
  const int code = copy(decoder_.context_.get(), &args);
  TORCH_CHECK(code == 0, "CUDA error ", code,
              " copying keys and values: ", decoder_.f_.error_text(code));
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
  const MemoryReserve reserve = TorchsReserve(weights->device());
  LFM2_ASSIGN_OR_RETURN(CudaContext context, OpenCudaContext(functions, options.device, reserve));
  std::unique_ptr<CudaDecoder> out(
      new CudaDecoder(functions, std::move(context), config, std::move(weights)));
  LFM2_RETURN_IF_ERROR(out->MakePools(options));
  CudaModelParts parts = MakeCudaModel(out->decoder_, *out->weights_, out->pools_);
  out->kept_ = std::move(parts.kept);
  LFM2_ASSIGN_OR_RETURN(out->step_,
                        DecodeStep::Make(functions, out->context_.get(), std::move(parts.model),
                                         options.step_rows, reserve));
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
  if (attends > 0) pools_.blocks = options.kv_bytes / block_bytes_;
  if (attends > 0 && pools_.blocks == 0) {
    return Error(Reason::kConfigInvalid,
                 "kv_bytes is " + std::to_string(options.kv_bytes) + ", but one block of " +
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
          kv = at::empty({2, pools_.blocks * TileElements(config)}, typed);
        } else if (branch.kind == BlockKind::kShortConv) {
          conv = at::zeros({options.sequences, config.conv_kernel - 1, d}, typed);
        } else if (branch.kind == BlockKind::kDiagonalSsm) {
          ssm = at::zeros({options.sequences, config.ssm_state_size, d}, typed.dtype(at::kFloat));
        }
      }
    }
    pools_.kv.push_back(kv);
    pools_.conv.push_back(conv);
    pools_.ssm.push_back(ssm);
  }
  for (int64_t i = pools_.blocks - 1; i >= 0; --i) free_blocks_.push_back(static_cast<int32_t>(i));
  for (int i = options.sequences - 1; i >= 0; --i) free_slots_.push_back(i);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SequenceState>> CudaDecoder::NewState() {
  if (free_slots_.empty()) {
    return Error(Reason::kGpuOutOfMemory, "all slots for sequences' states on the GPU are in use");
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
  std::vector<at::Tensor> conv = views(pools_.conv), ssm = views(pools_.ssm);
  return std::make_unique<SequenceState>(std::move(sequence), std::move(conv), std::move(ssm));
}

int64_t CudaDecoder::BlocksOf(int64_t tokens) const {
  return pools_.blocks == 0 ? 0 : (tokens + kLfm2CudaBlockTokens - 1) / kLfm2CudaBlockTokens;
}

absl::Status CudaDecoder::Reserve(SequenceState& state, int64_t tokens) {
  if (pools_.blocks == 0) return absl::OkStatus();
  std::vector<int32_t>& blocks = static_cast<Sequence*>(state.store())->blocks;
  const int64_t missing = BlocksOf(state.position() + tokens) - static_cast<int64_t>(blocks.size());
  if (missing <= 0) return absl::OkStatus();
  if (missing > static_cast<int64_t>(free_blocks_.size())) {
    return Error(Reason::kGpuOutOfMemory,
                 "keys and values of this request need " + std::to_string(missing) +
                     " more blocks of " + std::to_string(kLfm2CudaBlockTokens) +
                     " tokens, but only " + std::to_string(free_blocks_.size()) + " of " +
                     std::to_string(pools_.blocks) + " are free");
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
    if (DeviceKnows(*item.sampling)) {
      result.sample = Sample{choice.id, 0, {}};
      continue;
    }
    LFM2_ASSIGN_OR_RETURN(const std::vector<float> logits, step_->ReadLogits(i));
    result.sample = SampleToken(logits, *item.sampling, item.history, item.index, item.allowed);
  }
  return absl::OkStatus();
}

}  // namespace lfm2
