#include "model/cpu/kv_block.h"

#include <algorithm>

namespace lfm2 {
namespace {

constexpr int64_t kChunkBytes = 8 << 20;  // size of one allocation
constexpr int64_t kAlignment = 64;

}  // namespace

void KvBlock::Refer(int64_t change) {
  if (entry_ == nullptr) return;
  Entry& entry = *entry_;
  BlockPool& pool = *entry.pool;
  const auto used = [&] { return entry.references > 0 ? 1 : 0; };
  const auto only_kept = [&] { return used() != 0 && entry.references == entry.kept ? 1 : 0; };
  const int used_before = used(), kept_before = only_kept();
  entry.references += change;
  if (kept_) entry.kept += change;
  pool.in_use_.fetch_add(used() - used_before, std::memory_order_relaxed);
  pool.kept_.fetch_add(only_kept() - kept_before, std::memory_order_relaxed);
  if (entry.references == 0) pool.free_.push_back(entry_);
}

std::byte* KvBlock::data() const { return entry_->data; }
bool KvBlock::shared() const { return entry_->references > 1; }

BlockPool::BlockPool(int64_t block_bytes, int64_t capacity_bytes)
    : block_bytes_((block_bytes + kAlignment - 1) / kAlignment * kAlignment),
      capacity_(std::max<int64_t>(1, capacity_bytes / block_bytes_)) {}

KvBlock BlockPool::Take() {
  while (free_.empty() && !Grow()) {
    if (!reclaim_ || !reclaim_()) return KvBlock();
  }
  KvBlock::Entry* entry = free_.back();
  free_.pop_back();
  return KvBlock(entry, /*kept=*/false);
}

bool BlockPool::Grow() {
  const int64_t left = capacity_ - static_cast<int64_t>(entries_.size());
  const int64_t count = std::min(left, std::max<int64_t>(1, kChunkBytes / block_bytes_));
  if (count <= 0) return false;
  absl::StatusOr<HugeBuffer> chunk = HugeBuffer::Allocate(count * block_bytes_);
  if (!chunk.ok()) return false;
  std::byte* data = chunk->data();
  chunks_.push_back(*std::move(chunk));
  free_.reserve(entries_.size() + static_cast<size_t>(count));  // so returning a block cannot fail
  for (int64_t i = count - 1; i >= 0; --i) {
    entries_.push_back(std::make_unique<KvBlock::Entry>());
    *entries_.back() = {data + i * block_bytes_, 0, 0, this};
    free_.push_back(entries_.back().get());
  }
  return true;
}

}  // namespace lfm2
