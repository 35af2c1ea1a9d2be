// What one sequence carries from step to step on the CPU: keys and values in shared blocks, the
// last inputs of every convolution, the states of every SSM.
//
// Thread rule: one thread at a time. Ownership: whoever runs the sequence; the pool outlives it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "model/arch/config.h"
#include "model/cpu/kv_block.h"

namespace lfm2 {

enum class KvType { kBF16, kF32 };
const char* KvTypeName(KvType type);  // "bf16", "f32"

// Sizes of a state, from the model's config. Layers of each kind are numbered separately, in their
// order: the n-th attention, the n-th convolution, the n-th SSM.
struct StateShape {
  int64_t attentions = 0, convs = 0, ssms = 0;
  int64_t kv_heads = 0, head_dim = 0;
  KvType kv_type = KvType::kBF16;
  int64_t hidden_size = 0;
  int64_t conv_history = 0;  // L - 1
  int64_t ssm_states = 0;    // N

  static StateShape Of(const ModelConfig& config, KvType kv_type);

  int64_t tile_bytes() const;   // K and V of one head in one block
  int64_t block_bytes() const;  // 0: the model has no attention
  int64_t conv_floats() const { return conv_history * hidden_size; }  // of one layer
  int64_t ssm_floats() const { return ssm_states * hidden_size; }     // of one layer
  // Number of tokens that must be replayed over the existing keys and values to rebuild every
  // convolution's state from zero: each layer's state is L-1 inputs, and each layer needs L-1 more
  // correct inputs than the next layer.
  int64_t replay_window() const { return convs * conv_history; }
  // An SSM's state depends on all tokens, so it can only be kept, not rebuilt.
  bool needs_checkpoints() const { return ssms > 0; }
};

// The states that are not kept per token, at one position. Const after construction.
struct RecurrentState {
  std::vector<float> conv;  // [convs][L-1][d], oldest first
  std::vector<float> ssm;   // [ssms][N][d]

  int64_t bytes() const { return static_cast<int64_t>((conv.size() + ssm.size()) * sizeof(float)); }
};

struct Checkpoint {
  int64_t position = 0;  // tokens seen
  std::shared_ptr<RecurrentState> state;
};

// What a forward pass stores so that its drafted tokens, the last ones, can be removed again: the
// recurrent states before each of them, by index.
struct DraftTrail {
  int64_t position = 0;     // tokens seen before the first drafted one
  int64_t drafted = 0;      // 0: nothing can be removed
  int64_t kv_tokens = 0;    // tokens with keys and values before the pass
  std::vector<float> conv;  // [convs][L-1 + drafted][d]: inputs; state i starts at row i
  std::vector<float> ssm;   // [ssms][drafted][N][d]
};

class CpuState {
 public:
  // An empty state: zeros, position 0. checkpoint_tokens: distance between the checkpoints that a
  // forward pass stores in a state that needs them; 0: no checkpoints.
  CpuState(const StateShape& shape, BlockPool& pool, int64_t checkpoint_tokens);

  int64_t position() const { return position_; }  // tokens seen
  // Number of tokens with keys and values; more than position() while tokens are replayed.
  int64_t kv_tokens() const { return kv_tokens_; }

  // Makes a fresh state continue from shared blocks: `blocks` hold the keys and values of
  // `kv_tokens` tokens, and the next token has index `position` <= kv_tokens. `recurrent` is the
  // recurrent state at that position; null: zeros.
  void ResumeFrom(std::vector<KvBlock> blocks, int64_t kv_tokens, int64_t position,
                  const RecurrentState* recurrent);
  // Gets blocks for `tokens` more tokens and copies shared ones that will be written. Call it
  // before a forward pass. kOutOfMemory: the state may have gained blocks and is otherwise
  // unchanged.
  absl::Status Reserve(int64_t tokens);

  // For the forward pass, which advances the position at its end; the blocks are already reserved.
  std::byte* block(int64_t token) const {
    return blocks_[static_cast<size_t>(token / kBlockTokens)].data();
  }
  bool Writes(int64_t token) const { return token >= kv_tokens_; }
  bool IsReserved(int64_t tokens) const;
  float* conv(int64_t index) { return recurrent_.conv.data() + index * shape_.conv_floats(); }
  float* ssm(int64_t index) { return recurrent_.ssm.data() + index * shape_.ssm_floats(); }
  // Adds empty checkpoints at the multiples of checkpoint_tokens in (position, position + tokens],
  // for the layers to fill, and returns them.
  std::span<const Checkpoint> AddCheckpoints(int64_t tokens);
  // Makes room for the data that RollBack needs, for the layers to fill; discards the trail of the
  // previous pass.
  void BeginTrail(int64_t tokens, int64_t drafted);
  float* conv_trail(int64_t index) {
    const int64_t rows = shape_.conv_history + trail_.drafted;
    return trail_.conv.data() + index * rows * shape_.hidden_size;
  }
  float* ssm_trail(int64_t index, int64_t drafted) {
    return trail_.ssm.data() + (index * trail_.drafted + drafted) * shape_.ssm_floats();
  }
  void Advance(int64_t tokens);

  // Makes the state bit-identical to one that has seen only `position` tokens. The tokens after
  // them must be drafted tokens of the last forward pass. May be called repeatedly, each time
  // further back. Returns freed blocks to the pool. kInternal if the position is out of reach; the
  // state is then unchanged.
  absl::Status RollBack(int64_t position);
  // Returns blocks that hold no tokens to the pool: after a Reserve that was not used.
  void ReleaseSpareBlocks();

  // For the prefix cache, which keeps the state after the sequence has ended.
  const StateShape& shape() const { return shape_; }
  const std::vector<KvBlock>& blocks() const { return blocks_; }
  const std::vector<Checkpoint>& checkpoints() const { return checkpoints_; }
  const RecurrentState& recurrent() const { return recurrent_; }

 private:
  static constexpr int64_t kBlockTokens = 32;

  const StateShape shape_;
  BlockPool& pool_;
  const int64_t checkpoint_tokens_;
  int64_t position_ = 0, kv_tokens_ = 0;
  std::vector<KvBlock> blocks_;
  RecurrentState recurrent_;
  std::vector<Checkpoint> checkpoints_;  // ascending
  DraftTrail trail_;
};

}  // namespace lfm2
