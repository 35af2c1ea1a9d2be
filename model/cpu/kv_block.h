// Memory of keys and values: blocks of kKvBlockTokens tokens, each holding all attention layers of
// one model, counted by reference.
//
// Thread rule: one thread at a time (the engine's), but for the pool's counters. Ownership: the
// pool owns the memory and outlives every KvBlock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "model/kernels/machine/huge_buffer.h"

namespace lfm2 {

class BlockPool;

// One reference to a block; null when default-made. A copy is one reference more, a sequence's.
class KvBlock {
 public:
  KvBlock() = default;
  KvBlock(const KvBlock& other) : KvBlock(other.entry_, /*kept=*/false) {}
  KvBlock(KvBlock&& other) noexcept
      : entry_(std::exchange(other.entry_, nullptr)), kept_(other.kept_) {}
  KvBlock& operator=(KvBlock other) noexcept {
    std::swap(entry_, other.entry_);
    std::swap(kept_, other.kept_);
    return *this;
  }
  ~KvBlock() { Refer(-1); }
  // A reference of who keeps blocks that no sequence needs now.
  KvBlock Kept() const { return KvBlock(entry_, /*kept=*/true); }

  explicit operator bool() const { return entry_ != nullptr; }
  std::byte* data() const;
  bool shared() const;  // somebody else refers to it: copy before writing

 private:
  friend class BlockPool;
  struct Entry {
    std::byte* data = nullptr;
    int64_t references = 0;
    int64_t kept = 0;  // of them
    BlockPool* pool = nullptr;
  };
  KvBlock(Entry* entry, bool kept) : entry_(entry), kept_(kept) { Refer(1); }
  void Refer(int64_t change);

  Entry* entry_ = nullptr;
  bool kept_ = false;
};

class BlockPool {
 public:
  // `block_bytes` > 0. Memory is taken from the system as it is first needed, never more than
  // capacity_bytes (at least one block), and kept until the pool goes.
  BlockPool(int64_t block_bytes, int64_t capacity_bytes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A block that nobody else has, with unspecified content; null when there is none.
  KvBlock Take();
  // Asked for room when no block is free: gives one reference back and says true, or false when it
  // has none.
  void SetReclaim(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }

  int64_t block_bytes() const { return block_bytes_; }
  int64_t capacity() const { return capacity_; }  // blocks
  // Blocks that somebody refers to, and of those the ones with kept references only. Any thread.
  int64_t in_use() const { return in_use_.load(std::memory_order_relaxed); }
  int64_t kept() const { return kept_.load(std::memory_order_relaxed); }

 private:
  friend class KvBlock;
  bool Grow();

  const int64_t block_bytes_, capacity_;
  std::function<bool()> reclaim_;
  std::vector<HugeBuffer> chunks_;
  std::vector<std::unique_ptr<KvBlock::Entry>> entries_;
  std::vector<KvBlock::Entry*> free_;
  std::atomic<int64_t> in_use_{0}, kept_{0};
};

}  // namespace lfm2
