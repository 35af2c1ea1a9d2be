#include "model/cpu/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "model/kernels/layers/layer_kernels.h"

namespace lfm2 {
namespace {

constexpr size_t kEvictedRemembered = 65'536;
constexpr int64_t kNodeBytes = 512;  // approximate size of a node and its container entries

// FNV-1a over the tokens, continuing from `hash`.
uint64_t HashOn(uint64_t hash, std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x100000001b3U;
    hash ^= hash >> 29;
  }
  return hash;
}

uint64_t HashOf(std::string_view tenant) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : tenant) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto end = std::mismatch(
      a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin());
  return end.first - a.begin();
}

std::span<const int32_t> NextBlock(std::span<const int32_t> tokens, int64_t at) {
  const auto left = static_cast<int64_t>(tokens.size()) - at;
  return tokens.subspan(static_cast<size_t>(at),
                        static_cast<size_t>(std::min(left, kKvBlockTokens)));
}

}  // namespace

PrefixCache::PrefixCache(const StateShape& shape, BlockPool& pool, int64_t bytes)
    : shape_(shape), pool_(pool), limit_(bytes) {
  pool_.SetReclaim([this] { return EvictOne(); });
}

PrefixCache::~PrefixCache() { pool_.SetReclaim(nullptr); }

PrefixCache::Node* PrefixCache::Root(std::string_view tenant) const {
  const auto found = roots_.find(tenant);
  return found == roots_.end() ? nullptr : found->second.get();
}

PrefixCache::Match PrefixCache::Find(Node& root, std::span<const int32_t> prompt) const {
  Match match;
  Node* node = &root;
  const std::span<const int32_t> wanted = prompt.first(prompt.size() - 1);
  while (match.tokens < static_cast<int64_t>(wanted.size())) {
    const std::span<const int32_t> rest = NextBlock(wanted, match.tokens);
    match.next_hash = HashOn(node->hash, NextBlock(prompt, match.tokens));
    // In token order, the child that shares most tokens with `rest` is next to where `rest` would
    // be.
    const auto after = node->children.lower_bound(Tokens(rest.begin(), rest.end()));
    Node* best = nullptr;
    int64_t common = 0;
    const auto consider = [&](Children::const_iterator child) {
      const int64_t shared = CommonPrefix(child->first, rest);
      if (shared > common) {
        common = shared;
        best = child->second.get();
      }
    };
    // Considers the shorter one first: if both share the same number of tokens, it may end with a
    // checkpoint.
    if (after != node->children.begin()) consider(std::prev(after));
    if (after != node->children.end()) consider(after);
    if (best == nullptr) break;
    match.path.push_back(best);
    match.tokens += common;
    if (common < kKvBlockTokens) break;
    node = best;
  }
  return match;
}

const Checkpoint* PrefixCache::NearestCheckpoint(const Match& match) {
  for (auto node = match.path.rbegin(); node != match.path.rend(); ++node) {
    const std::vector<Checkpoint>& kept = (*node)->checkpoints;
    for (auto checkpoint = kept.rbegin(); checkpoint != kept.rend(); ++checkpoint) {
      if (checkpoint->position <= match.tokens) return &*checkpoint;
    }
  }
  return nullptr;
}

PrefixMiss PrefixCache::WhyShort(const Match& match, std::span<const int32_t> prompt) const {
  if (match.tokens + 1 >= static_cast<int64_t>(prompt.size())) return PrefixMiss::kNone;
  if (evicted_.count(match.next_hash) != 0) return PrefixMiss::kEvicted;
  return match.tokens == 0 ? PrefixMiss::kNoCommonPrefix : PrefixMiss::kNone;
}

PrefixReuse PrefixCache::Resume(std::string_view tenant, std::span<const int32_t> prompt,
                                CpuState& state) {
  Node* root = Root(tenant);
  Match match;
  if (root != nullptr) {
    match = Find(*root, prompt);
  } else {
    match.next_hash = HashOn(HashOf(tenant), NextBlock(prompt, 0));
  }
  PrefixReuse reuse;
  reuse.miss = WhyShort(match, prompt);
  if (root == nullptr && reuse.miss != PrefixMiss::kEvicted) reuse.miss = PrefixMiss::kEmpty;
  if (match.tokens == 0) return reuse;
  const Checkpoint* checkpoint = NearestCheckpoint(match);
  int64_t resume = 0;
  if (shape_.needs_checkpoints()) {
    resume = checkpoint == nullptr ? 0 : checkpoint->position;
  } else {
    resume = std::max<int64_t>(0, match.tokens - shape_.replay_window());
  }
  if (resume == 0) {
    if (reuse.miss != PrefixMiss::kEvicted) reuse.miss = PrefixMiss::kTooShort;
    return reuse;
  }
  std::vector<KvBlock> blocks;
  if (shape_.block_bytes() > 0) {
    for (const Node* node : match.path) blocks.push_back(node->block);
  }
  state.ResumeFrom(std::move(blocks), match.tokens, resume,
                   shape_.needs_checkpoints() ? checkpoint->state.get() : nullptr);
  for (auto node = match.path.rbegin(); node != match.path.rend(); ++node) Touch(*node);
  reuse.cached_tokens = match.tokens;
  reuse.replayed_tokens = match.tokens - resume;
  return reuse;
}

void PrefixCache::Insert(std::string_view tenant, std::span<const int32_t> tokens,
                         const CpuState& state) {
  const auto count = static_cast<int64_t>(tokens.size());
  if (limit_ <= 0 || count == 0 || state.position() != count || state.kv_tokens() != count) return;
  std::unique_ptr<Node>& root = roots_[std::string(tenant)];
  if (root == nullptr) {
    root = std::make_unique<Node>();
    root->tenant = std::string(tenant);
    root->hash = HashOf(tenant);
  }
  std::vector<Node*> path;
  Node* node = root.get();
  for (int64_t at = 0; at < count; at += kKvBlockTokens) {
    const auto index = static_cast<size_t>(at / kKvBlockTokens);
    node = Child(*node, NextBlock(tokens, at),
                 shape_.block_bytes() > 0 ? &state.blocks()[index] : nullptr);
    path.push_back(node);
  }
  for (const Checkpoint& checkpoint : state.checkpoints()) {
    Keep(*path[static_cast<size_t>((checkpoint.position - 1) / kKvBlockTokens)], checkpoint);
  }
  if (shape_.needs_checkpoints()) {
    Keep(*path.back(), {count, std::make_shared<RecurrentState>(state.recurrent())});
  }
  for (auto touched = path.rbegin(); touched != path.rend(); ++touched) Touch(*touched);
  while (bytes_ > limit_ && EvictOne()) {
  }
}

// The child with these tokens, made if absent; replaces a shorter child whose tokens they start
// with.
PrefixCache::Node* PrefixCache::Child(Node& parent, std::span<const int32_t> tokens,
                                      const KvBlock* block) {
  Tokens key(tokens.begin(), tokens.end());
  auto after = parent.children.lower_bound(key);
  if (after != parent.children.end() && after->first == key) return after->second.get();
  auto made = std::make_unique<Node>();
  made->parent = &parent;
  made->tokens = key;
  made->hash = HashOn(parent.hash, tokens);
  made->end = parent.end + static_cast<int64_t>(tokens.size());
  if (block != nullptr) made->block = block->Kept();
  if (after != parent.children.begin()) {
    Node* before = std::prev(after)->second.get();
    const bool contained = before->tokens.size() < key.size() && before->children.empty() &&
                           std::equal(before->tokens.begin(), before->tokens.end(), key.begin());
    if (contained) {
      for (const Checkpoint& checkpoint : before->checkpoints) {
        made->checkpoints.push_back(checkpoint);
      }
      bytes_ -= BytesOf(*before);
      recent_.erase(before->recent);
      parent.children.erase(std::prev(after));
    }
  }
  Node* node = made.get();
  node->recent = recent_.insert(recent_.end(), node);
  bytes_ += BytesOf(*node);
  parent.children.emplace(std::move(key), std::move(made));
  return node;
}

void PrefixCache::Keep(Node& node, const Checkpoint& checkpoint) {
  const auto place = std::lower_bound(
      node.checkpoints.begin(), node.checkpoints.end(), checkpoint.position,
      [](const Checkpoint& kept, int64_t position) { return kept.position < position; });
  if (place != node.checkpoints.end() && place->position == checkpoint.position) return;
  node.checkpoints.insert(place, checkpoint);
  bytes_ += checkpoint.state->bytes();
}

void PrefixCache::Touch(Node* node) { recent_.splice(recent_.end(), recent_, node->recent); }

bool PrefixCache::EvictOne() {
  if (recent_.empty()) return false;
  Remove(recent_.front());
  return true;
}

void PrefixCache::Remove(Node* leaf) {
  RememberEvicted(leaf->hash);
  bytes_ -= BytesOf(*leaf);
  recent_.erase(leaf->recent);
  Node* parent = leaf->parent;
  const Tokens key = leaf->tokens;
  parent->children.erase(key);
  if (parent->parent == nullptr && parent->children.empty())
    roots_.erase(roots_.find(parent->tenant));
}

void PrefixCache::RememberEvicted(uint64_t hash) {
  if (!evicted_.insert(hash).second) return;
  evicted_order_.push_back(hash);
  if (evicted_order_.size() <= kEvictedRemembered) return;
  evicted_.erase(evicted_order_.front());
  evicted_order_.pop_front();
}

int64_t PrefixCache::BytesOf(const Node& node) const {
  int64_t total = kNodeBytes + shape_.block_bytes();
  for (const Checkpoint& checkpoint : node.checkpoints) total += checkpoint.state->bytes();
  return total;
}

}  // namespace lfm2
