// Whose tokens a batch holds. A span is one sequence's run of rows; a group is neighbouring spans
// of equal length, which the layers evaluate as one [count, length, ...] tensor without padding.
//
// Thread rule: plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "model/torch/state.h"

namespace lfm2 {

struct Span {
  int64_t begin = 0;  // first row of [T]
  int64_t length = 0;
  // Null: starts from zero, and what it ends with is dropped (training, scoring).
  SequenceState* state = nullptr;
};

struct SpanGroup {
  int64_t begin = 0;   // first row of [T]
  int64_t length = 0;  // rows of each span
  int64_t count = 0;   // spans
  std::vector<SequenceState*>
      states;  // one a span, none of them null; empty when no span has a state

  int64_t rows() const { return count * length; }
};

// Groups in order, covering the same rows. Throws c10::Error unless the spans are in order, cover
// [0, rows) without holes, are not empty, and no two share a state.
std::vector<SpanGroup> GroupSpans(const std::vector<Span>& spans, int64_t rows);

}  // namespace lfm2
