// Early return for absl::Status and absl::StatusOr.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define LFM2_RETURN_IF_ERROR(expression)                              \
  do {                                                                \
    if (absl::Status lfm2_status = (expression); !lfm2_status.ok()) { \
      return lfm2_status;                                             \
    }                                                                 \
  } while (false)

#define LFM2_CONCAT_INNER(a, b) a##b
#define LFM2_CONCAT(a, b) LFM2_CONCAT_INNER(a, b)

// LFM2_ASSIGN_OR_RETURN(auto x, MakeX());
#define LFM2_ASSIGN_OR_RETURN(lhs, expression) \
  LFM2_ASSIGN_OR_RETURN_INNER(LFM2_CONCAT(lfm2_or_, __LINE__), lhs, expression)
// NOLINTBEGIN(bugprone-macro-parentheses): lhs may be a declaration, temporary is a name
#define LFM2_ASSIGN_OR_RETURN_INNER(temporary, lhs, expression) \
  auto temporary = (expression);                                \
  if (!temporary.ok()) return temporary.status();               \
  lhs = std::move(temporary).value()
// NOLINTEND(bugprone-macro-parentheses)
