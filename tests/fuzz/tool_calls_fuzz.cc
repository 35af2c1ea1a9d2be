// Any bytes: calls whose arguments are JSON objects, or a refusal.
#include <cstdint>
#include <cstdlib>

#include "base/json.h"
#include "model/tokenizer/chat/tool_calls.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto calls = lfm2::ParseToolCalls(text);
  if (!calls.ok()) return 0;
  if (calls->empty()) std::abort();
  for (const lfm2::ToolCall& call : *calls) {
    lfm2::JsonLimits limits;
    limits.depth += 2;  // the object itself, and what a value may hold
    const auto arguments = lfm2::ParseJson(call.arguments, limits);
    if (call.name.empty() || !arguments.ok() || !arguments->is_object()) std::abort();
  }
  return 0;
}
