// Reads lines of JSON and writes one line of JSON for each. Thread rule: one thread.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "client/calls/session.h"

namespace lfm2 {

// Stops at the first line that fails, with an error that names it; results of earlier lines are
// already written.
absl::Status ForEachLine(Session& session,
                         const std::function<absl::StatusOr<Json>(const Json&)>& answer);

// A required string field. kInvalidArgument.
absl::StatusOr<std::string> TextField(const Json& object, const char* name);
// A list of 32-bit integers.
absl::StatusOr<std::vector<int32_t>> IdsField(const Json& object, const char* name);

// The text for a verb: --text, else the file, else stdin. "-" means stdin. UsageError when stdin is
// a terminal; kFileNotFound; kMessageTooLarge when it is larger than a prompt may be.
struct TextInput {
  std::optional<std::string> text;
  std::optional<std::string> file;
  const char* file_flag = "--file";  // what errors call it
};
absl::StatusOr<std::string> ReadText(Session& session, const TextInput& input);

}  // namespace lfm2
