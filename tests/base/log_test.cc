#include "base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

namespace lfm2 {
namespace {

std::string Logged(const LogOptions& options, const std::function<void()>& work) {
  testing::internal::CaptureStderr();
  SetUpLog(options);
  work();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, WritesOneLineAnEvent) {
  const std::string line = Logged({}, [] {
    Log(LogLevel::kInfo, "generate done", {{"request_id", "r1"}, {"tokens", "12"}});
  });
  EXPECT_NE(line.find("info"), std::string::npos);
  EXPECT_TRUE(line.ends_with("generate done request_id=\"r1\" tokens=\"12\"\n")) << line;
}

TEST(Log, WritesJsonWhenAskedTo) {
  const std::string line = Logged({.level = LogLevel::kInfo, .json = true}, [] {
    Log(LogLevel::kWarning, "x", {{"a", "1"}});
  });
  EXPECT_TRUE(line.starts_with("{\"time\":\"")) << line;
  EXPECT_TRUE(line.ends_with("\"level\":\"warning\",\"event\":\"x\",\"a\":\"1\"}\n")) << line;
}

TEST(Log, LetsNoValueForgeALineOrLeaveItsQuotes) {
  const std::string hostile = std::string("a\"b\\c\nd\re\tf\x1b[31m\x7f") + '\0' + "{}%s";
  for (const bool json : {true, false}) {
    const std::string line = Logged({.level = LogLevel::kInfo, .json = json}, [&] {
      Log(LogLevel::kInfo, "e", {{"v", hostile}});
    });
    EXPECT_NE(line.find(R"(a\"b\\c\u000ad\u000de\u0009f\u001b[31m\u007f\u0000{}%s)"),
              std::string::npos)
        << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  }
}

TEST(Log, LeavesOutWhatIsBelowItsLevel) {
  const std::string lines = Logged({.level = LogLevel::kWarning, .json = false}, [] {
    Log(LogLevel::kDebug, "one");
    Log(LogLevel::kInfo, "two");
    Log(LogLevel::kWarning, "three");
    Log(LogLevel::kError, "four");
  });
  EXPECT_EQ(lines.find("one"), std::string::npos);
  EXPECT_EQ(lines.find("two"), std::string::npos);
  EXPECT_NE(lines.find("three"), std::string::npos);
  EXPECT_NE(lines.find("four"), std::string::npos);
}

TEST(ParseLogLevel, KnowsItsFourNamesAndNoOther) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("error", level).ok());
  EXPECT_EQ(level, LogLevel::kError);
  EXPECT_TRUE(ParseLogLevel("debug", level).ok());
  EXPECT_EQ(level, LogLevel::kDebug);
  const absl::Status status = ParseLogLevel("loud", level);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("loud"), std::string::npos);
}

}  // namespace
}  // namespace lfm2
