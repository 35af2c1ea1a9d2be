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

// Sizes of a state, from the model's config. Layers of each kind are counted by themselves, in
// their order: the n-th attention, the n-th convolution, the n-th SSM.
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
  // Tokens whose replay over standing keys and values rebuilds every convolution's state from zero:
  // each layer's state is L-1 inputs, and each layer needs L-1 right inputs more than the next.
  int64_t replay_window() const { return convs * conv_history; }
  // An SSM's state depends on all tokens: it can only be kept, not rebuilt.
  bool needs_checkpoints() const { return ssms > 0; }
};

// The states that are not kept by token, at one position. Const once made.
struct RecurrentState {
  std::vector<float> conv;  // [convs][L-1][d], oldest first
  std::vector<float> ssm;   // [ssms][N][d]

  int64_t bytes() const { return static_cast<int64_t>((conv.size() + ssm.size()) * sizeof(float)); }
};

struct Checkpoint {
  int64_t position = 0;  // tokens seen
  std::shared_ptr<RecurrentState> state;
};

// What a forward leaves behind so that its last, drafted tokens can be taken back: the recurrent
// states before each of them, picked by index.
struct DraftTrail {
  int64_t position = 0;     // tokens seen before the first drafted one
  int64_t drafted = 0;      // 0: nothing can be taken back
  int64_t kv_tokens = 0;    // that stood before the forward
  std::vector<float> conv;  // [convs][L-1 + drafted][d]: inputs, those of state i from row i on
  std::vector<float> ssm;   // [ssms][drafted][N][d]
};

class CpuState {
 public:
  // Empty, with zero states. checkpoint_tokens: distance of the checkpoints that a forward leaves
  // in a state that needs them; 0: none.
  CpuState(const StateShape& shape, BlockPool& pool, int64_t checkpoint_tokens);

  int64_t position() const { return position_; }  // tokens seen
  // Keys and values stand for this many tokens; more than position() while tokens are replayed.
  int64_t kv_tokens() const { return kv_tokens_; }

  // Makes a fresh state go on from others' blocks: keys and values of `kv_tokens` tokens stand in
  // `blocks`, and the next token is number `position`, <= kv_tokens. `recurrent` is the state
  // there, null for zeros.
  void ResumeFrom(std::vector<KvBlock> blocks, int64_t kv_tokens, int64_t position,
                  const RecurrentState* recurrent);
  // Blocks for `tokens` more, those that will be written being this state's alone: call before a
  // forward. kOutOfMemory: the state is unchanged but for blocks it has gained.
  absl::Status Reserve(int64_t tokens);

  // For the forward. The position moves at its end, with the blocks already reserved.
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
  // Room for what RollBack needs, for the layers to fill; the trail of the forward before is gone.
  void BeginTrail(int64_t tokens, int64_t drafted);
  float* conv_trail(int64_t index) {
    const int64_t rows = shape_.conv_history + trail_.drafted;
    return trail_.conv.data() + index * rows * shape_.hidden_size;
  }
  float* ssm_trail(int64_t index, int64_t drafted) {
    return trail_.ssm.data() + (index * trail_.drafted + drafted) * shape_.ssm_floats();
  }
  void Advance(int64_t tokens);

  // Makes the state bit for bit the one that has seen `position` tokens only, where the tokens
  // after them were drafted ones of the last forward: any number of times, further back each time.
  // Blocks that this frees go back to the pool. kInternal when the position is out of reach: the
  // state is unchanged.
  absl::Status RollBack(int64_t position);
  // Gives blocks back that hold nothing: after a Reserve that was for nothing.
  void ReleaseSpareBlocks();

  // For whoever keeps it when the sequence has ended.
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
