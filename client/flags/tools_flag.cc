#include "client/flags/tools_flag.h"

#include "base/errors.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "client/flags/flags.h"

namespace lfm2 {

void AddToolsFlag(CLI::App& app, std::optional<std::string>& tools) {
  TextFlag(app, "--tools", "Functions that the model may call: a JSON list of objects, or a file",
           [&tools](const std::string& v) { tools = v; });
}

absl::Status SetTools(const std::optional<std::string>& tools, v1::ChatMessages& chat) {
  if (!tools) return absl::OkStatus();
  std::string text = *tools;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '[') {
    LFM2_ASSIGN_OR_RETURN(text, ReadFlagFile("--tools", text, kDefaultLimits.prompt_bytes));
  }
  const absl::StatusOr<Json> list = ParseJson(text);
  if (!list.ok() || !list->is_array()) {
    return Error(Reason::kInvalidArgument,
                 "--tools is not a JSON list [{\"name\": ...}, ...]" +
                     (list.ok() ? std::string() : ": " + std::string(list.status().message())));
  }
  chat.clear_tools();
  for (const Json& tool : *list) chat.add_tools(tool.dump());
  return absl::OkStatus();
}

}  // namespace lfm2
