// Splits a token stream into rows, orders them for training, and packs batches of rows.
//
// A row is seq_len + 1 tokens of the stream (the last row may be shorter). Consecutive rows share
// one token, so that every token except a document's first is predicted exactly once per epoch.
// Inside a row each piece of a document is a separate segment: conv, SSM and attention restart
// there, and no prediction crosses its border.
//
// The last rows, a share of `eval_ratio`, are held out for evaluation. The order of an epoch is a
// permutation that is a pure function of (seed, epoch), so a resume needs only the cursor (epoch,
// index), and no list of rows is kept in memory. Thread rule: const after construction; the spans
// must outlive it. No LibTorch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

// A bijection of [0, size): a four-round Feistel network over the next even power of two, repeated
// until the result is below size (cycle walking).
class Permutation {
 public:
  Permutation(int64_t size, uint64_t seed, int64_t epoch);
  int64_t operator()(int64_t index) const;

 private:
  uint64_t Shuffle(uint64_t value) const;
  uint64_t size_;
  int half_bits_;
  uint64_t keys_[4];
};

struct Cursor {
  int64_t epoch = 0;
  int64_t index = 0;  // next row of the epoch's order
  bool operator==(const Cursor&) const = default;
};

struct Segment {
  int64_t begin = 0;
  int64_t length = 0;
  bool operator==(const Segment&) const = default;
};

// Concatenated rows in the form that the forward pass takes.
struct PackedBatch {
  std::vector<int64_t> tokens;    // [T]
  std::vector<Segment> segments;  // cover [0, T)
  std::vector<int64_t> rows;      // positions in [0, T) with a prediction
  std::vector<int64_t> targets;   // the token to predict at each of `rows`
};

class RowPacker {
 public:
  // kNoSupervisedTokens if the stream is shorter than one row, or if no predictions are left to
  // train on.
  static absl::StatusOr<RowPacker> Create(std::span<const int32_t> tokens,
                                          std::span<const int64_t> document_ends, int64_t seq_len,
                                          double eval_ratio, uint64_t seed);

  int64_t train_rows() const { return train_rows_; }
  int64_t eval_rows() const { return rows_ - train_rows_; }
  int64_t train_targets() const { return train_targets_; }  // predictions of one epoch
  int64_t eval_targets() const { return eval_targets_; }

  // The next `count` rows with predictions; advances the cursor, across epochs if needed.
  std::vector<int64_t> NextRows(int64_t count, Cursor& cursor) const;
  PackedBatch Pack(std::span<const int64_t> rows) const;
  // Number of predictions in a row.
  int64_t TargetsOf(int64_t row) const;

 private:
  RowPacker() = default;
  int64_t Begin(int64_t row) const { return row * seq_len_; }
  int64_t Length(int64_t row) const;  // inputs, without the last target

  std::span<const int32_t> tokens_;
  std::span<const int64_t> document_ends_;
  int64_t seq_len_ = 0;
  uint64_t seed_ = 0;
  int64_t rows_ = 0, train_rows_ = 0;
  int64_t train_targets_ = 0, eval_targets_ = 0;
};

}  // namespace lfm2
