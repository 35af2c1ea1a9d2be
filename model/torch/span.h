// Which sequences the rows of a batch belong to. A span is one sequence's consecutive rows. A group
// is neighbouring spans of equal length, which the layers compute as one [count, length, ...]
// tensor without padding.
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
  // Null: starts from zero, and its final state is dropped (training, scoring).
  SequenceState* state = nullptr;
};

struct SpanGroup {
  int64_t begin = 0;   // first row of [T]
  int64_t length = 0;  // rows of each span
  int64_t count = 0;   // spans
  std::vector<SequenceState*>
      states;  // one per span, all not null; empty if the spans have no states

  int64_t rows() const { return count * length; }
};

// Returns groups in order that cover the same rows. Throws c10::Error unless the spans are in
// order, cover [0, rows) without gaps, are not empty and do not share states.
std::vector<SpanGroup> GroupSpans(const std::vector<Span>& spans, int64_t rows);

}  // namespace lfm2
