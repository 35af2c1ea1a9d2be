// Models of any shape with random weights, made in memory.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "model/cpu/weights.h"
#include "tests/model/cpu/cpu_golden.h"

namespace lfm2 {

// Two kinds of layers, several heads a KV head, sizes that are no multiple of any vector.
inline ModelConfig SmallLfm2() {
  ModelConfig config;
  config.architecture = Architecture::kLfm2;
  config.vocab_size = 101;
  config.hidden_size = 72;
  config.intermediate_size = 100;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 2;
  config.head_dim = 12;
  config.conv_kernel = 4;
  config.conv_bias = true;
  config.qk_norm = true;
  config.attention_layers = {false, true, false, true, false};
  return config;
}

inline ModelConfig SmallHybrid() {
  ModelConfig config;
  config.architecture = Architecture::kHybrid;
  config.vocab_size = 90;
  config.hidden_size = 40;
  config.intermediate_size = 64;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 10;
  config.ssm_state_size = 5;
  config.tie_word_embeddings = false;
  config.attention_layers = {false, true, false};
  return config;
}

// Attention in every layer, one head a KV head and as many as that leaves: nothing to replay.
inline ModelConfig SmallAttentionOnly() {
  ModelConfig config = SmallLfm2();
  config.conv_bias = false;
  config.num_key_value_heads = 1;
  config.attention_layers = {true, true};
  return config;
}

// What a matrix holds after it was packed in a format, as CpuWeights packs it.
inline void Round(const TensorSpec& spec, WeightFormat format, std::vector<float>& values) {
  const bool vocabulary =
      spec.name.find("embed") != std::string::npos || spec.name == "lm_head.weight";
  if (vocabulary && format == WeightFormat::kInt4) format = WeightFormat::kInt8;
  TensorView view;
  view.name = spec.name;
  view.dtype = DType::kF32;
  view.shape = spec.shape;
  view.data = reinterpret_cast<const std::byte*>(values.data());
  view.bytes = static_cast<int64_t>(values.size() * sizeof(float));
  auto packed = PackedMatrix::Pack({&view, 1}, format, Isa::kPortable, TestPool());
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto cols = static_cast<size_t>(packed->cols());
  for (int64_t row = 0; row < packed->rows(); ++row) {
    packed->Row(row, std::span(values).subspan(static_cast<size_t>(row) * cols, cols));
  }
}

// `rounded_to`: the values are what that format can hold.
inline std::shared_ptr<const CpuWeights> RandomWeights(const ModelConfig& config,
                                                       CpuWeights::Options options,
                                                       WeightFormat rounded_to = WeightFormat::kF32,
                                                       uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<float> values;
  const CpuWeights::Source source = [&](const TensorSpec& spec) -> absl::StatusOr<TensorView> {
    const bool norm = spec.name.find("norm.weight") != std::string::npos;
    const bool log_dt = spec.name.find("log_dt") != std::string::npos;
    const double fan = static_cast<double>(spec.shape.back());
    std::normal_distribution<double> normal(norm     ? 1.0
                                            : log_dt ? -3.0
                                                     : 0.0,
                                            norm ? 0.1 : 1.0 / std::sqrt(fan));
    int64_t size = 1;
    for (const int64_t n : spec.shape) size *= n;
    values.resize(static_cast<size_t>(size));
    for (float& value : values) value = static_cast<float>(normal(random));
    if (spec.shape.size() == 2 && spec.name.ends_with(".weight")) Round(spec, rounded_to, values);
    TensorView view;
    view.name = spec.name;
    view.dtype = DType::kF32;
    view.shape = spec.shape;
    view.data = reinterpret_cast<const std::byte*>(values.data());
    view.bytes = size * 4;
    return view;
  };
  // A stacked matrix takes all its views at once, so each needs memory of its own.
  std::vector<std::unique_ptr<std::vector<float>>> kept;
  const CpuWeights::Source keeping = [&](const TensorSpec& spec) -> absl::StatusOr<TensorView> {
    absl::StatusOr<TensorView> view = source(spec);
    kept.push_back(std::make_unique<std::vector<float>>(values));
    view->data = reinterpret_cast<const std::byte*>(kept.back()->data());
    return view;
  };
  auto weights = CpuWeights::Load(config, keeping, options, TestPool());
  EXPECT_TRUE(weights.ok()) << weights.status();
  return *weights;
}

inline uint64_t CpuTestSeed() {
  const char* given = std::getenv("LFM2_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

}  // namespace lfm2
