#include "model/tokenizer/chat/tool_calls.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/chat/python_literal.h"

namespace lfm2 {
namespace {

absl::Status Malformed(std::string_view what) {
  return Error(Reason::kInvalidArgument, absl::StrCat("tool call: ", std::string(what)));
}

// f(a=1, b="x") after the name, which was read already.
bool ReadArguments(PythonReader& reader, std::string& out) {
  if (!reader.Take('(')) return reader.Fail("an opening parenthesis is expected");
  std::set<std::string, std::less<>> seen;
  out = "{";
  for (bool first = true; !reader.Take(')'); first = false) {
    if (!first) {
      if (!reader.Take(',')) return reader.Fail("a comma or a closing parenthesis is expected");
      if (reader.Take(')')) break;
      out += ',';
    }
    const std::string name(reader.TakeName(PythonReader::Name::kPlain));
    if (name.empty() || !reader.Take('=')) return reader.Fail("name=value is expected");
    if (!seen.insert(name).second) return reader.Fail("an argument is given twice");
    AppendJsonString(name, out);
    out += ':';
    if (!reader.Value(out)) return false;
  }
  out += '}';
  return true;
}

bool ReadCalls(PythonReader& reader, int64_t most, std::vector<ToolCall>& calls) {
  const bool is_list = reader.Take('[');
  do {
    if (!calls.empty() && is_list && reader.Take(']'))
      return reader.AtEnd() || reader.Fail("the end is expected");
    if (static_cast<int64_t>(calls.size()) >= most) return reader.Fail("too many calls");
    ToolCall call;
    call.name = std::string(reader.TakeName(PythonReader::Name::kDotted));
    if (call.name.empty()) return reader.Fail("a function's name is expected");
    if (!ReadArguments(reader, call.arguments)) return false;
    calls.push_back(std::move(call));
  } while (reader.Take(','));
  if (is_list && !reader.Take(']')) return reader.Fail("a comma or the list's end is expected");
  return reader.AtEnd() || reader.Fail("the end is expected");
}

absl::StatusOr<ToolCall> CallOf(const Json& json) {
  if (!json.is_object()) return Malformed("an object is expected");
  const auto name = json.find("name");
  if (name == json.end() || !name->is_string() || name->get_ref<const std::string&>().empty())
    return Malformed("name must be a string");
  auto arguments = json.find("arguments");
  if (arguments == json.end()) arguments = json.find("parameters");
  ToolCall call{name->get<std::string>(), "{}"};
  if (arguments == json.end()) return call;
  if (!arguments->is_object()) return Malformed("arguments must be an object");
  call.arguments = arguments->dump();
  return call;
}

absl::StatusOr<std::vector<ToolCall>> CallsOfJson(std::string_view text, const Limits& limits) {
  LFM2_ASSIGN_OR_RETURN(const Json json, ParseJson(text, {.bytes = limits.tool_call_bytes,
                                                          .depth = limits.json_depth}));
  const bool is_list = json.is_array();
  const size_t count = is_list ? json.size() : 1;
  if (count == 0 || static_cast<int64_t>(count) > limits.tool_calls)
    return Malformed(absl::StrCat(count, " calls, 1 to ", limits.tool_calls, " are allowed"));
  std::vector<ToolCall> calls;
  for (size_t i = 0; i < count; ++i) {
    LFM2_ASSIGN_OR_RETURN(ToolCall call, CallOf(is_list ? json[i] : json));
    calls.push_back(std::move(call));
  }
  return calls;
}

bool LooksLikeJson(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n[");
  return first != std::string_view::npos && text[first] == '{';
}

std::string PythonString(const std::string& text) {
  const auto needs_escape = [](char c) {
    return c == '\'' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  };
  if (std::none_of(text.begin(), text.end(), needs_escape)) return "'" + text + "'";
  std::string quoted;
  AppendJsonString(text, quoted);
  return quoted;
}

std::string PythonValue(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_string()) return PythonString(value.get_ref<const std::string&>());
  if (!value.is_array()) return SpacedJson(value);
  std::string items;
  for (const Json& item : value) items += (items.empty() ? "" : ", ") + PythonValue(item);
  return "[" + items + "]";
}

}  // namespace

absl::StatusOr<std::vector<ToolCall>> ParseToolCalls(std::string_view text, const Limits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.tool_call_bytes) {
    return Malformed(absl::StrCat("has ", text.size(), " bytes, limit ", limits.tool_call_bytes));
  }
  if (!CheckUtf8(text).ok()) return Malformed("is not valid UTF-8");
  if (LooksLikeJson(text)) return CallsOfJson(text, limits);
  PythonReader reader(text, limits.json_depth);
  std::vector<ToolCall> calls;
  if (ReadCalls(reader, limits.tool_calls, calls)) return calls;
  return Malformed(absl::StrCat(reader.why(), " at byte ", reader.position()));
}

absl::StatusOr<std::string> WriteToolCalls(const std::vector<ToolCall>& calls) {
  std::string out;
  for (const ToolCall& call : calls) {
    LFM2_ASSIGN_OR_RETURN(const Json arguments, ParseJson(call.arguments));
    if (!arguments.is_object()) return Malformed("the arguments are not a JSON object");
    std::string written;
    for (const auto& item : arguments.items()) {
      absl::StrAppend(&written, written.empty() ? "" : ", ", item.key(), "=",
                      PythonValue(item.value()));
    }
    absl::StrAppend(&out, out.empty() ? "" : ", ", call.name, "(", written, ")");
  }
  return "[" + out + "]";
}

}  // namespace lfm2
