// Keys and values of earlier sequences, looked up by their tokens, token by token.
//
// One radix tree per tenant, with one block of tokens per node. A node's edge is up to
// kKvBlockTokens tokens, fewer only where a sequence ended. A prompt matches whole nodes and then
// perhaps a part of one more. Its state shares those blocks and copies the last one before writing
// into it. States that are not kept per token are rebuilt: a convolution's by a replay of
// StateShape::replay_window() tokens from zero states over the existing keys and values, which
// gives bit-identical states; an SSM's from the nearest checkpoint. A cache belongs to one loaded
// model, so its content was computed with the same weights and the same tokenizer.
//
// Thread rule: one thread at a time. Ownership: holds references to the pool's blocks; the pool
// outlives it.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "model/cpu/prefix_reuse.h"
#include "model/cpu/state.h"

namespace lfm2 {

class PrefixCache {
 public:
  // Keeps at most `bytes` of blocks, checkpoints and tokens; evicts the least recently used first.
  // 0: keeps nothing. Also evicts when the pool needs a block.
  PrefixCache(const StateShape& shape, BlockPool& pool, int64_t bytes);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // Fills the fresh `state` so that its next token is prompt[resume_at()]. The last token of a
  // prompt is never reused, because its logits are needed.
  PrefixReuse Resume(std::string_view tenant, std::span<const int32_t> prompt, CpuState& state);
  // Adds references to the blocks of a state that has seen exactly `tokens`. Copies only the tokens
  // and, for a model with SSMs, the last recurrent state.
  void Insert(std::string_view tenant, std::span<const int32_t> tokens, const CpuState& state);
  // Evicts the least recently used node; false if the cache is empty.
  bool EvictOne();

  int64_t bytes() const { return bytes_; }
  int64_t blocks() const { return static_cast<int64_t>(recent_.size()); }

 private:
  using Tokens = std::vector<int32_t>;
  struct Node;
  using Children = std::map<Tokens, std::unique_ptr<Node>>;
  struct Node {
    Node* parent = nullptr;
    std::string tenant;  // set in a root only
    Tokens tokens;       // its key in the parent
    uint64_t hash = 0;   // of all tokens from the root on
    int64_t end = 0;     // tokens from the root on
    KvBlock block;
    std::vector<Checkpoint> checkpoints;  // in (end - tokens, end], ascending
    Children children;
    std::list<Node*>::iterator recent;
  };
  struct Match {
    std::vector<Node*> path;  // nodes whose blocks the prompt shares; the last may match in part
    int64_t tokens = 0;
    uint64_t next_hash = 0;  // of the first block that is missing
  };

  Node* Root(std::string_view tenant) const;
  // A match never includes the last token of the prompt.
  Match Find(Node& root, std::span<const int32_t> prompt) const;
  static const Checkpoint* NearestCheckpoint(const Match& match);
  PrefixMiss WhyShort(const Match& match, std::span<const int32_t> prompt) const;
  Node* Child(Node& parent, std::span<const int32_t> tokens, const KvBlock* block);
  void Keep(Node& node, const Checkpoint& checkpoint);
  void Touch(Node* node);
  void Remove(Node* leaf);
  void RememberEvicted(uint64_t hash);
  int64_t BytesOf(const Node& node) const;

  const StateShape shape_;
  BlockPool& pool_;
  const int64_t limit_;
  int64_t bytes_ = 0;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> roots_;  // by tenant
  // Least recently used first. A node is touched after its children, so the first is a leaf.
  std::list<Node*> recent_;
  std::unordered_set<uint64_t> evicted_;  // hashes of evicted nodes
  std::deque<uint64_t> evicted_order_;
};

}  // namespace lfm2
