// Lines of JSON in, lines of JSON out, one for one. Thread rule: one thread.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "client/calls/session.h"

namespace lfm2 {

// Stops at the first line that fails, with an error that names it; the lines before it are out.
absl::Status ForEachLine(Session& session,
                         const std::function<absl::StatusOr<Json>(const Json&)>& answer);

// A string field that must be there. kInvalidArgument.
absl::StatusOr<std::string> TextField(const Json& object, const char* name);
// A list of 32-bit integers.
absl::StatusOr<std::vector<int32_t>> IdsField(const Json& object, const char* name);

// The text of a verb: what --text gave, else the file, else stdin. "-" is stdin. UsageError when
// stdin is a terminal; kFileNotFound, kMessageTooLarge over the limit of a prompt.
struct TextInput {
  std::optional<std::string> text;
  std::optional<std::string> file;
  const char* file_flag = "--file";  // what errors call it
};
absl::StatusOr<std::string> ReadText(Session& session, const TextInput& input);

}  // namespace lfm2
