// What a model writes to call functions, as data. LFM2 writes a list of calls as in Python between
// two markers: <|tool_call_start|>[f(a=1, b="x")]<|tool_call_end|>; asked for JSON, an object or a
// list of {"name": …, "arguments": {…}}.
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

// What stands between the markers. Python's literals: strings with their escapes, whole numbers and
// floats up to 1.8e308, True, False, None, lists, tuples, dicts; keyword arguments only. At least
// one call. kInvalidArgument with the byte where it goes wrong.
absl::StatusOr<std::vector<ToolCall>> ParseToolCalls(std::string_view text,
                                                     const Limits& limits = kDefaultLimits);

// The other way, as LFM2.5's template does: strings in single quotes (in double ones with escapes
// where they hold a quote, a backslash or a control character), None, True, False, lists as in
// Python, objects as JSON. kInvalidArgument where arguments are no JSON object.
absl::StatusOr<std::string> WriteToolCalls(const std::vector<ToolCall>& calls);

}  // namespace lfm2
