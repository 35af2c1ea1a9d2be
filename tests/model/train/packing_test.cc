#include "model/train/packing.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "base/errors.h"

namespace lfm2 {
namespace {

std::vector<int32_t> Counting(int32_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

TEST(Permutation, IsABijectionOfEverySizeAndDiffersByEpochAndSeed) {
  for (int64_t size : {1, 2, 3, 4, 5, 17, 64, 65, 1000}) {
    const Permutation order(size, 9, 0);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < size; ++i) seen.insert(order(i));
    EXPECT_EQ(seen.size(), static_cast<size_t>(size));
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), size - 1);
  }
  const auto order = [](uint64_t seed, int64_t epoch) {
    std::vector<int64_t> out;
    for (int64_t i = 0; i < 100; ++i) out.push_back(Permutation(100, seed, epoch)(i));
    return out;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
}

TEST(RowPacker, PredictsEveryTokenButADocumentsFirstExactlyOnceAnEpoch) {
  const std::vector<int32_t> tokens = Counting(103);
  const std::vector<int64_t> ends = {1, 2, 40, 48, 49, 103};
  const RowPacker packer = RowPacker::Create(tokens, ends, 8, 0.0, 4).value();
  EXPECT_EQ(packer.train_rows(), 13);
  std::multiset<int64_t> predicted;
  for (int64_t row = 0; row < packer.train_rows(); ++row) {
    const PackedBatch batch = packer.Pack(std::vector<int64_t>{row});
    EXPECT_EQ(static_cast<int64_t>(batch.rows.size()), packer.TargetsOf(row));
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const int64_t at = batch.rows[i];
      EXPECT_EQ(batch.targets[i], batch.tokens[static_cast<size_t>(at)] + 1);
      predicted.insert(batch.targets[i]);
    }
  }
  const std::set<int64_t> firsts = {0, 1, 2, 40, 48, 49};
  for (int64_t token = 0; token < 103; ++token) {
    EXPECT_EQ(predicted.count(token), firsts.count(token) ? 0u : 1u) << token;
  }
  EXPECT_EQ(packer.train_targets(), 103 - 6);
}

TEST(RowPacker, CutsSegmentsAtDocumentBoundaries) {
  const std::vector<int32_t> tokens = Counting(9);
  const std::vector<int64_t> ends = {3, 9};
  const RowPacker packer = RowPacker::Create(tokens, ends, 4, 0.0, 0).value();
  const PackedBatch batch = packer.Pack(std::vector<int64_t>{0, 1});
  EXPECT_EQ(batch.tokens, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(batch.segments, (std::vector<Segment>{{0, 3}, {3, 1}, {4, 4}}));
  EXPECT_EQ(batch.rows, (std::vector<int64_t>{0, 1, 3, 4, 5, 6, 7}));
  EXPECT_EQ(batch.targets, (std::vector<int64_t>{1, 2, 4, 5, 6, 7, 8}));
}

TEST(RowPacker, NeverTrainsOnTheHeldOutRows) {
  const std::vector<int32_t> tokens = Counting(101);
  const std::vector<int64_t> ends = {101};
  const RowPacker packer = RowPacker::Create(tokens, ends, 10, 0.25, 1).value();
  EXPECT_EQ(packer.train_rows(), 8);
  EXPECT_EQ(packer.eval_rows(), 2);
  Cursor cursor;
  for (int64_t row : packer.NextRows(80, cursor)) EXPECT_LT(row, 8);
  EXPECT_EQ(packer.eval_targets(), 20);
}

TEST(RowPacker, GoesThroughEachEpochOnceAndResumesFromItsCursor) {
  const std::vector<int32_t> tokens = Counting(101);
  const std::vector<int64_t> ends = {101};
  const RowPacker packer = RowPacker::Create(tokens, ends, 10, 0.0, 1).value();
  Cursor cursor;
  const std::vector<int64_t> first = packer.NextRows(10, cursor);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 10u);
  const Cursor saved = cursor;
  const std::vector<int64_t> straight = packer.NextRows(7, cursor);
  Cursor resumed = saved;
  EXPECT_EQ(packer.NextRows(7, resumed), straight);
  EXPECT_EQ(resumed, cursor);
  EXPECT_EQ(cursor.epoch, 1);
}

TEST(RowPacker, SkipsRowsThatPredictNothing) {
  std::vector<int64_t> ends = {1, 2, 3, 4, 5, 12};
  const std::vector<int32_t> tokens = Counting(12);
  const RowPacker packer = RowPacker::Create(tokens, ends, 4, 0.0, 0).value();
  EXPECT_EQ(packer.TargetsOf(0), 0);
  Cursor cursor;
  for (int64_t row : packer.NextRows(20, cursor)) EXPECT_NE(row, 0);
}

TEST(RowPacker, RefusesADatasetShorterThanOneRowWithTheFix) {
  const std::vector<int32_t> tokens = Counting(10);
  const std::vector<int64_t> ends = {10};
  EXPECT_TRUE(RowPacker::Create(tokens, ends, 9, 0.0, 0).ok());
  const absl::Status status = RowPacker::Create(tokens, ends, 10, 0.0, 0).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kNoSupervisedTokens);
  EXPECT_EQ(status.message(),
            "the dataset has 10 tokens; one row of seq_len 10 needs 11: give more text, or a "
            "seq_len of at most 9");
  EXPECT_EQ(DetailsOf(RowPacker::Create({}, {}, 1, 0.0, 0).status()).reason,
            Reason::kNoSupervisedTokens);
}

TEST(RowPacker, RefusesDocumentsOfOneTokenEachAndASplitThatLeavesNothing) {
  const std::vector<int32_t> tokens = Counting(4);
  const std::vector<int64_t> singles = {1, 2, 3, 4};
  EXPECT_EQ(DetailsOf(RowPacker::Create(tokens, singles, 2, 0.0, 0).status()).reason,
            Reason::kNoSupervisedTokens);
  const std::vector<int64_t> one = {4};
  EXPECT_EQ(DetailsOf(RowPacker::Create(tokens, one, 3, 0.5, 0).status()).reason,
            Reason::kNoSupervisedTokens);
}

}  // namespace
}  // namespace lfm2
