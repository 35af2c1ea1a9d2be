#include "model/train/packing.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

// splitmix64's finaliser: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// 2014.
uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

}  // namespace

Permutation::Permutation(int64_t size, uint64_t seed, int64_t epoch)
    : size_(static_cast<uint64_t>(size)), half_bits_(1) {
  while ((uint64_t{1} << (2 * half_bits_)) < size_) ++half_bits_;
  uint64_t key = Mix(Mix(seed) ^ static_cast<uint64_t>(epoch));
  for (uint64_t& round_key : keys_) {
    key = Mix(key);
    round_key = key;
  }
}

uint64_t Permutation::Shuffle(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (uint64_t key : keys_) {
    const uint64_t next = left ^ (Mix(right ^ key) & mask);
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

int64_t Permutation::operator()(int64_t index) const {
  uint64_t value = static_cast<uint64_t>(index);
  do {
    value = Shuffle(value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

int64_t RowPacker::Length(int64_t row) const {
  return std::min(seq_len_, static_cast<int64_t>(tokens_.size()) - 1 - Begin(row));
}

int64_t RowPacker::TargetsOf(int64_t row) const {
  const int64_t begin = Begin(row), last = begin + Length(row);
  // Each document that begins inside (begin, last] means one prediction less.
  const auto first = std::upper_bound(document_ends_.begin(), document_ends_.end(), begin);
  const auto past = std::upper_bound(first, document_ends_.end(), last);
  return last - begin - (past - first);
}

absl::StatusOr<RowPacker> RowPacker::Create(std::span<const int32_t> tokens,
                                            std::span<const int64_t> document_ends, int64_t seq_len,
                                            double eval_ratio, uint64_t seed) {
  const int64_t count = static_cast<int64_t>(tokens.size());
  if (count < seq_len + 1) {
    const std::string fix =
        count >= 2 ? absl::StrCat("give more text, or a seq_len of at most ", count - 1)
                   : "give more text";
    return Error(Reason::kNoSupervisedTokens,
                 absl::StrCat("the dataset has ", count, " tokens; one row of seq_len ", seq_len,
                              " needs ", seq_len + 1, ": ", fix),
                 {{"tokens", absl::StrCat(count)}, {"seq_len", absl::StrCat(seq_len)}});
  }
  RowPacker packer;
  packer.tokens_ = tokens;
  packer.document_ends_ = document_ends;
  packer.seq_len_ = seq_len;
  packer.seed_ = seed;
  packer.rows_ = (count - 1 + seq_len - 1) / seq_len;
  int64_t held_out = static_cast<int64_t>(static_cast<double>(packer.rows_) * eval_ratio);
  if (eval_ratio > 0) held_out = std::max<int64_t>(held_out, 1);
  packer.train_rows_ = packer.rows_ - held_out;
  for (int64_t row = 0; row < packer.rows_; ++row) {
    (row < packer.train_rows_ ? packer.train_targets_ : packer.eval_targets_) +=
        packer.TargetsOf(row);
  }
  if (packer.train_targets_ == 0 || (eval_ratio > 0 && packer.eval_targets_ == 0)) {
    return Error(
        Reason::kNoSupervisedTokens,
        absl::StrCat("the dataset has ", count, " tokens in ", document_ends.size(),
                     " documents and gives ", packer.train_targets_,
                     " predictions to train on and ", packer.eval_targets_,
                     " to evaluate, with seq_len ", seq_len, " and eval_ratio ", eval_ratio,
                     ": give more text or longer documents"),
        {{"tokens", absl::StrCat(count)}, {"supervised", absl::StrCat(packer.train_targets_)}});
  }
  return packer;
}

std::vector<int64_t> RowPacker::NextRows(int64_t count, Cursor& cursor) const {
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(count));
  while (static_cast<int64_t>(rows.size()) < count) {
    if (cursor.index >= train_rows_) {
      ++cursor.epoch;
      cursor.index = 0;
    }
    const int64_t row = Permutation(train_rows_, seed_, cursor.epoch)(cursor.index++);
    if (TargetsOf(row) > 0) rows.push_back(row);
  }
  return rows;
}

PackedBatch RowPacker::Pack(std::span<const int64_t> rows) const {
  PackedBatch batch;
  for (int64_t row : rows) {
    const int64_t begin = Begin(row), end = begin + Length(row);
    const int64_t shift = static_cast<int64_t>(batch.tokens.size()) - begin;
    batch.tokens.insert(batch.tokens.end(), tokens_.begin() + begin, tokens_.begin() + end);
    auto document = std::upper_bound(document_ends_.begin(), document_ends_.end(), begin);
    for (int64_t piece = begin; piece < end; ++document) {
      const int64_t document_end = *document;
      const int64_t piece_end = std::min(document_end, end);
      batch.segments.push_back({piece + shift, piece_end - piece});
      for (int64_t i = piece; i < piece_end && i + 1 < document_end; ++i) {
        batch.rows.push_back(i + shift);
        batch.targets.push_back(tokens_[static_cast<size_t>(i + 1)]);
      }
      piece = piece_end;
    }
  }
  return batch;
}

}  // namespace lfm2
