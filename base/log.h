// Structured logs: one line per event with key=value pairs, or JSON. Never log a prompt, a token or
// a credential. Thread rule: any thread. Only log.cc includes spdlog.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  bool json = false;
};

void SetUpLog(const LogOptions& options);  // to stderr
absl::Status ParseLogLevel(std::string_view name, LogLevel& level);

using LogFields = std::vector<std::pair<std::string_view, std::string>>;
// Log(LogLevel::kInfo, "generate done", {{"request_id", id}, {"tokens", "12"}});
void Log(LogLevel level, std::string_view event, const LogFields& fields = {});

}  // namespace lfm2
