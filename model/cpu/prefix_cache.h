// Keys and values of earlier sequences, found again by their tokens, token by token.
//
// A radix tree a tenant, one block of tokens a node; a node's edge is up to kKvBlockTokens tokens,
// fewer only where a sequence ended. A prompt follows whole nodes and then a part of one more; its
// state shares those blocks and copies the last one when it writes into it. What is not kept by
// token is rebuilt: convolutions by a replay of StateShape::replay_window() tokens from zero
// states, over standing keys and values, which gives every state bit by bit; SSMs from the nearest
// checkpoint. A cache belongs to one loaded model, so what it holds was computed by these weights
// from this tokenizer's ids.
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
  // Keeps at most `bytes` of blocks, checkpoints and tokens; the least recently used go first. 0:
  // keeps nothing. Gives the pool room when it asks for it.
  PrefixCache(const StateShape& shape, BlockPool& pool, int64_t bytes);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // Makes the fresh `state` stand before prompt[resume_at()]. The last token of a prompt is always
  // left to run: its logits are wanted.
  PrefixReuse Resume(std::string_view tenant, std::span<const int32_t> prompt, CpuState& state);
  // Takes over the blocks of a state that saw exactly `tokens`. Nothing is copied but the tokens
  // and, for a model that needs them, the last recurrent state.
  void Insert(std::string_view tenant, std::span<const int32_t> tokens, const CpuState& state);
  // Gives up what was used longest ago; false when it holds nothing.
  bool EvictOne();

  int64_t bytes() const { return bytes_; }
  int64_t blocks() const { return static_cast<int64_t>(recent_.size()); }

 private:
  using Tokens = std::vector<int32_t>;
  struct Node;
  using Children = std::map<Tokens, std::unique_ptr<Node>>;
  struct Node {
    Node* parent = nullptr;
    std::string tenant;  // of a root
    Tokens tokens;       // what its parent knows it by
    uint64_t hash = 0;   // of all tokens from the root on
    int64_t end = 0;     // tokens from the root on
    KvBlock block;
    std::vector<Checkpoint> checkpoints;  // in (end - tokens, end], ascending
    Children children;
    std::list<Node*>::iterator recent;
  };
  struct Match {
    std::vector<Node*> path;  // nodes whose blocks the prompt shares, the last perhaps in part
    int64_t tokens = 0;
    uint64_t next_hash = 0;  // of the first block that is not there
  };

  Node* Root(std::string_view tenant) const;
  // The last token of the prompt is never part of the match.
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
  std::unordered_set<uint64_t> evicted_;  // hashes of nodes that were there
  std::deque<uint64_t> evicted_order_;
};

}  // namespace lfm2
