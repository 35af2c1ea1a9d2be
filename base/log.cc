#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

bool json_lines = false;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Escapes control bytes, quotes and backslashes, so that a value cannot forge a log line.
std::string Quoted(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void SetUpLog(const LogOptions& options) {
  json_lines = options.json;
  auto logger = std::make_shared<spdlog::logger>(
      "lfm2", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(options.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                                   : "%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(ToSpdlog(options.level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

absl::Status ParseLogLevel(std::string_view name, LogLevel& level) {
  if (name == "debug")
    level = LogLevel::kDebug;
  else if (name == "info")
    level = LogLevel::kInfo;
  else if (name == "warning")
    level = LogLevel::kWarning;
  else if (name == "error")
    level = LogLevel::kError;
  else
    return Error(Reason::kInvalidArgument, "log level \"" + std::string(name) +
                                               "\" is not one of debug, info, warning, error");
  return absl::OkStatus();
}

void Log(LogLevel level, std::string_view event, const LogFields& fields) {
  std::string line = json_lines ? "\"event\":" + Quoted(event) : std::string(event);
  for (const auto& [key, value] : fields) {
    if (json_lines) {
      line += "," + Quoted(key) + ":" + Quoted(value);
    } else {
      line += " " + std::string(key) + "=" + Quoted(value);
    }
  }
  spdlog::log(ToSpdlog(level), "{}", line);
}

}  // namespace lfm2
