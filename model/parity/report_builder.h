// Builds a parity report from the chunks of one pass. If the chunks' values do not depend on how
// the tokens are cut, the statistics do not either, bit for bit. Thread rule: one thread at a time.
// std::bad_alloc when the report does not fit in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/parity/probe.h"

namespace lfm2 {

class ReportBuilder {
 public:
  // For a pass over `tokens` tokens in total.
  ReportBuilder(int64_t tokens, const ReportKeep& keep) : tokens_(tokens), keep_(keep) {}

  // Adds the chunk's next probe, [rows, ...] in row-major order. Every chunk must have the same
  // probes in the same order.
  void Add(const std::string& name, std::span<const float> values,
           const std::vector<int64_t>& shape);
  // Adds the chunk's logits, [rows, vocab], and ends the chunk.
  void AddLogits(std::span<const float> logits, int64_t vocab);

  // The size of the whole report in bytes; known after the first chunk.
  int64_t bytes() const { return bytes_; }
  // Call after the last chunk; leaves the builder empty.
  ParityReport Finish();

 private:
  struct Sums {
    double magnitudes = 0, squares = 0;
  };

  bool first_chunk() const { return rows_ == 0; }
  void Count(std::span<const float> values, Probe& probe, Sums& sums) const;

  int64_t tokens_;
  ReportKeep keep_;
  ParityReport report_;
  std::vector<Sums> sums_;  // of each probe
  size_t next_ = 0;         // next probe of the current chunk
  int64_t rows_ = 0;        // rows of the finished chunks
  int64_t bytes_ = 0;
};

}  // namespace lfm2
