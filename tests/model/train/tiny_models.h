// Learners of small models, and batches for them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/train/learner.h"
#include "tests/model/arch/tiny_configs.h"

namespace lfm2::testing {

inline std::unique_ptr<Learner> MakeLearner(const ModelConfig& config, const TrainSpec& spec,
                                            at::Device device = at::kCPU,
                                            at::ScalarType dtype = at::kFloat) {
  const auto start = Weights::Random(config, 7, device, at::kFloat).value();
  const auto compute = Weights::Random(config, 7, device, dtype).value();
  return std::make_unique<Learner>(config, start->tensors(), compute, spec);
}

// One span of `count` pseudo-random tokens, each predicting the next one.
inline PackedBatch RandomBatch(int64_t count, int64_t vocab, uint64_t seed) {
  PackedBatch batch;
  uint64_t state = seed * 2654435761u + 1;
  const auto next = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocab));
  };
  int64_t token = next();
  for (int64_t i = 0; i < count; ++i) {
    batch.tokens.push_back(token);
    token = next();
    batch.rows.push_back(i);
    batch.targets.push_back(token);
  }
  batch.segments.push_back({0, count});
  return batch;
}

// A folder that is gone with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lfm2-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lfm2::testing
