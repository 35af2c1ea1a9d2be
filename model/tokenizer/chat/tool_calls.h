// Parses and writes the calls of functions that a model makes. LFM2 writes a Python list of calls
// between two markers: <|tool_call_start|>[f(a=1, b="x")]<|tool_call_end|>. When asked for JSON it
// writes an object or a list of {"name": …, "arguments": {…}}.
//
// Thread rule: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/limits.h"

namespace lfm2 {

inline constexpr std::string_view kToolCallStart = "<|tool_call_start|>";
inline constexpr std::string_view kToolCallEnd = "<|tool_call_end|>";

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object, in the order they were written
};

// Parses the text between the markers. Values are Python literals: strings with escapes, whole
// numbers and floats up to 1.8e308, True, False, None, lists, tuples, dicts; only keyword
// arguments. At least one call. kInvalidArgument with the byte of the error.
absl::StatusOr<std::vector<ToolCall>> ParseToolCalls(std::string_view text,
                                                     const Limits& limits = kDefaultLimits);

// The inverse, as LFM2.5's template does it: strings in single quotes (in double quotes with
// escapes if they contain a quote, a backslash or a control character), None, True, False, lists as
// in Python, objects as JSON. kInvalidArgument when arguments are not a JSON object.
absl::StatusOr<std::string> WriteToolCalls(const std::vector<ToolCall>& calls);

}  // namespace lfm2
