// BPE's merges: maps a pair of token ids to its rank and the id of the merged token. Open
// addressing with a power of two, because there is a lookup for every pair of symbols of every
// text. Thread rule: const after filling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lfm2 {

struct Merge {
  int32_t rank;
  int32_t id;
};

class MergeTable {
 public:
  explicit MergeTable(size_t merges = 0) {
    size_t capacity = 16;
    while (capacity < 2 * merges + 1) capacity *= 2;
    slots_.resize(capacity);
  }

  // Setting a pair again replaces its value. At most as many pairs as given to the
  // constructor.
  void Set(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = KeyOf(left, right);
    size_t at = SlotOf(key);
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, merge};
  }

  const Merge* Find(int32_t left, int32_t right) const {
    const uint64_t key = KeyOf(left, right);
    size_t at = SlotOf(key);
    while (slots_[at].key != kEmpty) {
      if (slots_[at].key == key) return &slots_[at].merge;
      at = (at + 1) & (slots_.size() - 1);
    }
    return nullptr;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // ids are not negative, so no pair has this key
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge{};
  };

  static uint64_t KeyOf(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  size_t SlotOf(uint64_t key) const {
    key ^= key >> 33;
    key *= 0xFF51AFD7ED558CCDull;
    key ^= key >> 33;
    return static_cast<size_t>(key) & (slots_.size() - 1);
  }

  std::vector<Slot> slots_;
};

}  // namespace lfm2
