// A parity report out of the chunks of one pass. The figures are those of the whole: the same bit
// for bit however the tokens are cut, where the chunks' values are. Thread rule: one thread at a
// time. std::bad_alloc when the report does not fit in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/parity/probe.h"

namespace lfm2 {

class ReportBuilder {
 public:
  // Of a pass over so many tokens in all.
  ReportBuilder(int64_t tokens, const ReportKeep& keep) : tokens_(tokens), keep_(keep) {}

  // The chunk's next probe, [rows, ...] in row-major order. Every chunk has the same ones, in the
  // same order.
  void Add(const std::string& name, std::span<const float> values,
           const std::vector<int64_t>& shape);
  // The chunk's logits, [rows, vocab]; ends the chunk.
  void AddLogits(std::span<const float> logits, int64_t vocab);

  // What the whole report takes; known from the first chunk on.
  int64_t bytes() const { return bytes_; }
  // After the last chunk; the builder is empty then.
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
  size_t next_ = 0;         // probe of the chunk under way
  int64_t rows_ = 0;        // of the chunks that have ended
  int64_t bytes_ = 0;
};

}  // namespace lfm2
