// The models under tests/goldens, and what independent code computes for them.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "model/arch/model_folder.h"
#include "model/formats/npz.h"
#include "model/torch/decoder.h"

namespace lfm2 {

struct GoldenModel {
  std::string name;
  ModelConfig config;
  std::shared_ptr<Weights> weights;          // float32, writable
  std::map<std::string, at::Tensor> golden;  // arrays of golden.npz

  at::Tensor tokens() const { return golden.at("tokens").to(at::kLong); }
  Decoder decoder() const { return Decoder(config, weights); }
};

inline const char* const kGoldenNames[] = {"lfm2-tiny",           "lfm2-tiny-untied",
                                           "hybrid-sequential",   "hybrid-parallel",
                                           "hybrid-no-attention", "llama-tiny"};
// Those of which transformers has the class, and so the golden its loss and greedy tokens.
inline const char* const kTransformersGoldenNames[] = {"lfm2-tiny", "lfm2-tiny-untied",
                                                       "llama-tiny"};

inline std::filesystem::path GoldenPath(const std::string& name) {
  return std::filesystem::path(LFM2_GOLDENS_DIR) / name;
}

inline GoldenModel LoadGolden(const std::string& name, at::ScalarType dtype = at::kFloat) {
  GoldenModel out;
  out.name = name;
  absl::StatusOr<ModelFolder> folder = OpenModelFolder(GoldenPath(name));
  if (!folder.ok()) throw std::runtime_error(folder.status().ToString());
  out.config = *folder->config;
  auto weights = Weights::FromArchive(out.config, folder->weights, at::kCPU, dtype);
  if (!weights.ok()) throw std::runtime_error(weights.status().ToString());
  out.weights = *weights;
  for (auto& [key, tensor] : out.weights->mutable_tensors()) tensor = tensor.clone();
  absl::StatusOr<TensorArchive> golden = ReadNpz(GoldenPath(name) / "golden.npz");
  if (!golden.ok()) throw std::runtime_error(golden.status().ToString());
  for (const TensorView& view : golden->tensors) out.golden[view.name] = AsTensor(view).clone();
  return out;
}

// Infinite when a value is not a number, which std::max would drop.
inline double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  const double difference =
      (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

// All logits of one sequence from an empty state, in one span without a state.
inline at::Tensor AllLogits(const Decoder& decoder, const at::Tensor& tokens) {
  return decoder.Logits(decoder.Hidden({tokens, {{0, tokens.size(0), nullptr}}}));
}

}  // namespace lfm2
