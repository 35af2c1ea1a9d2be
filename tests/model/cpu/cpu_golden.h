// The models under tests/goldens on the CPU's kernels, and what independent code computes for them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "model/arch/model_folder.h"
#include "model/cpu/decoder.h"
#include "model/formats/npz.h"

namespace lfm2 {

inline const char* const kCpuGoldenNames[] = {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential",
                                              "hybrid-parallel", "hybrid-no-attention"};

inline const char* const kCpuLfm2GoldenNames[] = {"lfm2-tiny", "lfm2-tiny-untied"};

inline std::vector<double> DoublesOf(const TensorView& view) {
  std::vector<double> out;
  for (int64_t at = 0; at < view.bytes; at += SizeOf(view.dtype)) {
    if (view.dtype == DType::kF64) {
      double value = 0;
      std::memcpy(&value, view.data + at, sizeof(value));
      out.push_back(value);
    } else if (view.dtype == DType::kF32) {
      float value = 0;
      std::memcpy(&value, view.data + at, sizeof(value));
      out.push_back(value);
    } else {
      int64_t value = 0;
      std::memcpy(&value, view.data + at, sizeof(value));
      out.push_back(static_cast<double>(value));
    }
  }
  return out;
}

struct CpuGolden {
  std::string name;
  std::shared_ptr<const CpuWeights> weights;
  TensorArchive golden;

  const ModelConfig& config() const { return weights->config(); }
  std::vector<double> values(const std::string& key) const { return DoublesOf(*golden.Find(key)); }
  std::vector<int32_t> ids(const std::string& key) const {
    const std::vector<double> wide = values(key);
    return {wide.begin(), wide.end()};
  }
};

inline ThreadPool& TestPool() {
  static ThreadPool pool(3);
  return pool;
}

inline CpuGolden LoadCpuGolden(const std::string& name, WeightFormat format = WeightFormat::kF32,
                               Isa isa = DetectIsa()) {
  CpuGolden out;
  out.name = name;
  const auto path = std::filesystem::path(LFM2_GOLDENS_DIR) / name;
  absl::StatusOr<ModelFolder> folder = OpenModelFolder(path);
  EXPECT_TRUE(folder.ok()) << folder.status();
  auto weights =
      CpuWeights::FromArchive(*folder->config, folder->weights, {format, isa}, TestPool());
  EXPECT_TRUE(weights.ok()) << weights.status();
  out.weights = *weights;
  out.golden = *ReadNpz(path / "golden.npz");
  return out;
}

// A pool without a bound that matters here.
inline std::unique_ptr<BlockPool> BlocksFor(const StateShape& shape) {
  return std::make_unique<BlockPool>(std::max<int64_t>(64, shape.block_bytes()), int64_t{1} << 30);
}

// Runs tokens through a state; the logits asked for, as a copy.
inline std::vector<float> RunTokens(CpuDecoder& decoder, CpuState& state,
                                    std::span<const int32_t> tokens, LogitRows rows) {
  EXPECT_TRUE(state.Reserve(static_cast<int64_t>(tokens.size())).ok());
  const CpuSpan span{tokens, &state, rows};
  const auto logits = decoder.Forward({&span, 1});
  EXPECT_TRUE(logits.ok()) << logits.status();
  return {logits->begin(), logits->end()};
}

template <typename A, typename B>
double LargestDifference(const A& a, const B& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

}  // namespace lfm2
