#include "model/torch/span.h"

#include <c10/util/Exception.h>

#include <unordered_set>

namespace lfm2 {
namespace {

bool Joins(const SpanGroup& group, const Span& span) {
  return group.length == span.length && group.states.empty() == (span.state == nullptr);
}

}  // namespace

std::vector<SpanGroup> GroupSpans(const std::vector<Span>& spans, int64_t rows) {
  std::vector<SpanGroup> groups;
  std::unordered_set<const SequenceState*> seen;
  int64_t next = 0;
  for (const Span& span : spans) {
    TORCH_CHECK(span.begin == next, "span begins at row ", span.begin, ", expected ", next);
    TORCH_CHECK(span.length > 0, "span at row ", span.begin, " has length ", span.length);
    TORCH_CHECK(span.state == nullptr || seen.insert(span.state).second, "span at row ", span.begin,
                " shares its state with an earlier span");
    next += span.length;
    if (groups.empty() || !Joins(groups.back(), span)) {
      groups.push_back({span.begin, span.length, 0, {}});
    }
    ++groups.back().count;
    if (span.state != nullptr) groups.back().states.push_back(span.state);
  }
  TORCH_CHECK(next == rows, "spans cover ", next, " rows of ", rows);
  return groups;
}

}  // namespace lfm2
