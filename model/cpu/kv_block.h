// Memory of keys and values: blocks of kKvBlockTokens tokens, each holding all attention layers of
// one model, counted by reference.
//
// Thread rule: one thread at a time (the engine's). Ownership: the pool owns the memory and
// outlives every KvBlock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "model/kernels/huge_buffer.h"

namespace lfm2 {

class BlockPool;

// One reference to a block; null when default-made. A copy is one reference more.
class KvBlock {
 public:
  KvBlock() = default;
  KvBlock(const KvBlock& other);
  KvBlock(KvBlock&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  KvBlock& operator=(KvBlock other) noexcept {
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~KvBlock();

  explicit operator bool() const { return entry_ != nullptr; }
  std::byte* data() const;
  bool shared() const;  // somebody else refers to it: copy before writing

 private:
  friend class BlockPool;
  struct Entry {
    std::byte* data = nullptr;
    int64_t references = 0;
    BlockPool* pool = nullptr;
  };
  explicit KvBlock(Entry* entry) : entry_(entry) {}

  Entry* entry_ = nullptr;
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
  int64_t in_use() const { return static_cast<int64_t>(entries_.size() - free_.size()); }

 private:
  friend class KvBlock;
  bool Grow();

  const int64_t block_bytes_, capacity_;
  std::function<bool()> reclaim_;
  std::vector<HugeBuffer> chunks_;
  std::vector<std::unique_ptr<KvBlock::Entry>> entries_;
  std::vector<KvBlock::Entry*> free_;
};

}  // namespace lfm2
