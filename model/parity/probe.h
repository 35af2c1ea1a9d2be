// A parity report as plain data, and the comparison of two. Uses no LibTorch: the client, the
// server and the tests share it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lfm2 {

struct Probe {
  std::string name;  // llama.cpp's and transformers' module names: "model.layers.0.conv.in_proj",
                     // "model.layers.0", "logits"
  std::vector<int64_t> shape;
  double sum = 0, abs_mean = 0, max = 0,
         norm = 0;            // over all elements; max of the absolute value; Euclidean norm
  std::vector<float> values;  // row-major; only when asked for
};

// What a report keeps of a pass besides the statistics.
struct ReportKeep {
  bool values = false;      // of the probes
  bool all_logits = false;  // of every position instead of only the last
};

struct ParityReport {
  std::vector<Probe> probes;          // in the order of the forward pass
  std::vector<int64_t> logits_shape;  // [T, vocab]
  std::vector<float> logits;          // row-major: of all positions, or of the last one

  int64_t first_logits() const;  // the position of the first row of `logits`
  int64_t bytes() const;         // of the kept values and logits
};

struct ProbeDifference {
  std::string name;
  // element-wise where both have values, else the largest difference of the four figures
  double max_abs_difference = 0;
  double tolerance = 0;
  bool differs = false;
  std::string note;  // "shape [4, 64] against [4, 32]", "only here", …
};

struct ParityComparison {
  std::vector<ProbeDifference> probes;
  std::optional<std::string> first_difference;
  double max_logit_difference = 0;
};

// Elements may differ by `tolerance`, multiplied by the probe's max when that is larger than 1.
ParityComparison CompareReports(const ParityReport& ours, const ParityReport& theirs,
                                double tolerance);

}  // namespace lfm2
