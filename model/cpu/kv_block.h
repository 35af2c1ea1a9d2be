// Memory of keys and values: blocks of kKvBlockTokens tokens, each holding all attention layers of
// one model, counted by reference.
//
// Thread rule: one thread at a time (the engine's), except for the pool's counters. Ownership: the
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

// A reference to a block; null if default-constructed. A copy adds a sequence's reference.
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
  // A reference for an owner, such as the prefix cache, that keeps blocks which no sequence uses
  // now.
  KvBlock Kept() const { return KvBlock(entry_, /*kept=*/true); }

  explicit operator bool() const { return entry_ != nullptr; }
  std::byte* data() const;
  bool shared() const;  // has other references: copy before writing

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
  // `block_bytes` > 0. Memory is allocated when first needed, at most capacity_bytes (but at least
  // one block), and kept until the pool is destroyed.
  BlockPool(int64_t block_bytes, int64_t capacity_bytes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Returns an unused block with unspecified content; null if all are in use.
  KvBlock Take();
  // `reclaim` is called when no block is free. It releases one kept reference and returns true, or
  // returns false if it holds none.
  void SetReclaim(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }

  int64_t block_bytes() const { return block_bytes_; }
  int64_t capacity() const { return capacity_; }  // blocks
  // Blocks with any reference, and the part of them with only kept references. Any thread.
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
