#include "model/cpu/state.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/errors.h"
#include "model/kernels/layers/layer_kernels.h"

namespace lfm2 {

const char* KvTypeName(KvType type) { return type == KvType::kBF16 ? "bf16" : "f32"; }

StateShape StateShape::Of(const ModelConfig& config, KvType kv_type) {
  StateShape shape;
  shape.kv_heads = config.num_key_value_heads;
  shape.head_dim = config.head_dim;
  shape.kv_type = kv_type;
  shape.hidden_size = config.hidden_size;
  shape.conv_history = config.conv_kernel - 1;
  shape.ssm_states = config.ssm_state_size;
  for (const Layer& layer : config.Layers()) {
    for (const Stage& stage : layer) {
      for (const Branch& branch : stage.branches) {
        shape.attentions += branch.kind == BlockKind::kAttention;
        shape.convs += branch.kind == BlockKind::kShortConv;
        shape.ssms += branch.kind == BlockKind::kDiagonalSsm;
      }
    }
  }
  return shape;
}

int64_t StateShape::tile_bytes() const {
  return KvTileElements(head_dim) * (kv_type == KvType::kBF16 ? 2 : 4);
}

int64_t StateShape::block_bytes() const { return attentions * kv_heads * tile_bytes(); }

CpuState::CpuState(const StateShape& shape, BlockPool& pool, int64_t checkpoint_tokens)
    : shape_(shape), pool_(pool), checkpoint_tokens_(checkpoint_tokens) {
  static_assert(kBlockTokens == kKvBlockTokens);
  recurrent_.conv.resize(static_cast<size_t>(shape.convs * shape.conv_floats()));
  recurrent_.ssm.resize(static_cast<size_t>(shape.ssms * shape.ssm_floats()));
}

void CpuState::ResumeFrom(std::vector<KvBlock> blocks, int64_t kv_tokens, int64_t position,
                          const RecurrentState* recurrent) {
  blocks_ = std::move(blocks);
  kv_tokens_ = kv_tokens;
  position_ = position;
  if (recurrent != nullptr) recurrent_ = *recurrent;
}

absl::Status CpuState::Reserve(int64_t tokens) {
  if (shape_.block_bytes() == 0) return absl::OkStatus();
  const int64_t end = position_ + tokens;
  const int64_t needed = (end + kBlockTokens - 1) / kBlockTokens;
  const auto no_memory = [&] {
    return Error(Reason::kOutOfMemory,
                 "no memory is left for the keys and values of " + std::to_string(end) +
                     " tokens; all " + std::to_string(pool_.capacity()) + " blocks of " +
                     std::to_string(kBlockTokens) + " tokens are in use",
                 {{"tokens", std::to_string(end)}});
  };
  const bool writes_into_last =
      end > kv_tokens_ && kv_tokens_ % kBlockTokens != 0 && kv_tokens_ / kBlockTokens < needed;
  if (writes_into_last) {
    KvBlock& last = blocks_[static_cast<size_t>(kv_tokens_ / kBlockTokens)];
    if (last.shared()) {
      KvBlock own = pool_.Take();
      if (!own) return no_memory();
      std::memcpy(own.data(), last.data(), static_cast<size_t>(pool_.block_bytes()));
      last = std::move(own);
    }
  }
  while (static_cast<int64_t>(blocks_.size()) < needed) {
    KvBlock next = pool_.Take();
    if (!next) return no_memory();
    blocks_.push_back(std::move(next));
  }
  return absl::OkStatus();
}

bool CpuState::IsReserved(int64_t tokens) const {
  return shape_.block_bytes() == 0 ||
         position_ + tokens <= static_cast<int64_t>(blocks_.size()) * kBlockTokens;
}

std::span<const Checkpoint> CpuState::AddCheckpoints(int64_t tokens) {
  const size_t before = checkpoints_.size();
  if (checkpoint_tokens_ > 0 && shape_.needs_checkpoints()) {
    const int64_t first = (position_ / checkpoint_tokens_ + 1) * checkpoint_tokens_;
    for (int64_t at = first; at <= position_ + tokens; at += checkpoint_tokens_) {
      auto state = std::make_shared<RecurrentState>();
      state->conv.resize(recurrent_.conv.size());
      state->ssm.resize(recurrent_.ssm.size());
      checkpoints_.push_back({at, std::move(state)});
    }
  }
  return std::span<const Checkpoint>(checkpoints_).subspan(before);
}

void CpuState::BeginTrail(int64_t tokens, int64_t drafted) {
  trail_.position = position_ + tokens - drafted;
  trail_.drafted = drafted;
  trail_.kv_tokens = kv_tokens_;
  if (drafted == 0) return;
  const int64_t conv_rows = shape_.convs * (shape_.conv_history + drafted);
  trail_.conv.resize(static_cast<size_t>(conv_rows * shape_.hidden_size));
  trail_.ssm.resize(static_cast<size_t>(shape_.ssms * drafted * shape_.ssm_floats()));
}

void CpuState::Advance(int64_t tokens) {
  position_ += tokens;
  kv_tokens_ = std::max(kv_tokens_, position_);
}

absl::Status CpuState::RollBack(int64_t position) {
  if (position == position_) return absl::OkStatus();
  if (position > position_ || position < trail_.position || trail_.drafted == 0) {
    return Error(Reason::kInternal, "a state at " + std::to_string(position_) +
                                        " tokens cannot go back to " + std::to_string(position));
  }
  const int64_t kept = position - trail_.position;  // drafted tokens to keep; fewer than all
  for (int64_t i = 0; i < shape_.convs; ++i) {
    std::copy_n(conv_trail(i) + kept * shape_.hidden_size, shape_.conv_floats(), conv(i));
  }
  for (int64_t i = 0; i < shape_.ssms; ++i) {
    std::copy_n(ssm_trail(i, kept), shape_.ssm_floats(), ssm(i));
  }
  while (!checkpoints_.empty() && checkpoints_.back().position > position) checkpoints_.pop_back();
  position_ = position;
  kv_tokens_ = std::max(position, trail_.kv_tokens);
  ReleaseSpareBlocks();
  return absl::OkStatus();
}

void CpuState::ReleaseSpareBlocks() {
  const auto needed = static_cast<size_t>((kv_tokens_ + kBlockTokens - 1) / kBlockTokens);
  if (blocks_.size() > needed) blocks_.resize(needed);
}

}  // namespace lfm2
