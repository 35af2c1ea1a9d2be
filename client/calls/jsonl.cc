#include "client/calls/jsonl.h"

#include <istream>

#include "base/limits.h"
#include "base/status_macros.h"
#include "client/flags/flags.h"

namespace lfm2 {
namespace {

absl::StatusOr<Json> AnswerLine(const std::string& line,
                                const std::function<absl::StatusOr<Json>(const Json&)>& answer) {
  if (static_cast<int64_t>(line.size()) > kDefaultLimits.jsonl_line_bytes) {
    return Error(Reason::kInvalidArgument, "has " + std::to_string(line.size()) + " bytes, limit " +
                                               std::to_string(kDefaultLimits.jsonl_line_bytes));
  }
  const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Error(Reason::kInvalidArgument, "is not a JSON object");
  return answer(object);
}

}  // namespace

absl::Status ForEachLine(Session& session,
                         const std::function<absl::StatusOr<Json>(const Json&)>& answer) {
  std::string line;
  for (int64_t number = 1; std::getline(session.console.in, line); ++number) {
    const absl::StatusOr<Json> result = AnswerLine(line, answer);
    if (!result.ok()) return Annotate(result.status(), "line " + std::to_string(number));
    LFM2_RETURN_IF_ERROR(WriteJson(session.console, *result));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextField(const Json& object, const char* name) {
  if (!object.contains(name) || !object[name].is_string()) {
    return Error(Reason::kInvalidArgument, std::string("\"") + name + "\" must be a string");
  }
  return object[name].get<std::string>();
}

absl::StatusOr<std::vector<int32_t>> IdsField(const Json& object, const char* name) {
  const std::string field = std::string("\"") + name + "\"";
  if (!object.contains(name) || !object[name].is_array()) {
    return Error(Reason::kInvalidArgument, field + " must be a list of token ids");
  }
  std::vector<int32_t> ids;
  for (const Json& value : object[name]) {
    const bool fits = value.is_number_integer() && value >= INT32_MIN && value <= INT32_MAX;
    if (!fits) {
      return Error(Reason::kInvalidArgument,
                   field + " holds " + DumpJson(value) + ", which is not a token id");
    }
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<std::string> ReadText(Session& session, const TextInput& input) {
  if (input.text && input.file) return UsageError("give the text or its file, not both");
  if (input.text && *input.text != "-") return *input.text;
  if (input.file && *input.file != "-") {
    return ReadFlagFile(input.file_flag, *input.file, kDefaultLimits.prompt_bytes);
  }
  if (!input.text && !input.file && session.console.in_is_terminal) {
    return UsageError("no text was given: use --prompt, -f FILE, or a pipe");
  }
  return ReadStream(session.console.in, "stdin", kDefaultLimits.prompt_bytes);
}

}  // namespace lfm2
