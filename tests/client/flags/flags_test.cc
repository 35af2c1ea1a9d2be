#include "client/flags/flags.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

using Arguments = std::vector<std::string>;

Arguments Normalize(const Arguments& arguments) {
  return NormalizeArguments(arguments, {"data_path", "prompt", "f", "token_file"});
}

TEST(Flags, DashesAndUnderscoresInNamesAreTheSame) {
  EXPECT_EQ(Normalize({"--data-path", "x", "--token-file=a-b"}),
            (Arguments{"--data_path", "x", "--token_file=a-b"}));
}

TEST(Flags, AValueKeepsItsDashes) {
  EXPECT_EQ(Normalize({"--prompt", "--a-b", "-f", "--c-d"}),
            (Arguments{"--prompt", "--a-b", "-f", "--c-d"}));
}

TEST(Flags, NothingChangesAfterTheDoubleDash) {
  EXPECT_EQ(Normalize({"--no-color", "--", "--no-color"}),
            (Arguments{"--no_color", "--", "--no-color"}));
}

TEST(Flags, AnEmptyInlineValueIsAValue) {
  EXPECT_EQ(Normalize({"--prompt=", "--no-color"}), (Arguments{"--prompt", "", "--no_color"}));
}

TEST(Flags, IdsMayHaveSpacesAndNothingElse) {
  EXPECT_EQ(ParseIds("1, 2,3").value(), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(ParseIds("1 2\n3").value(), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_FALSE(ParseIds("1,x").ok());
  EXPECT_FALSE(ParseIds("99999999999").ok());
  EXPECT_EQ(ParseIds("").value(), std::vector<int32_t>{});
}

struct Parsed {
  std::string text;
  std::optional<int64_t> integer;
  std::optional<bool> on;
  std::vector<std::string> stops;
  bool ok = true;
};

Parsed Parse(const Arguments& arguments) {
  Parsed parsed;
  CLI::App app;
  TextFlag(app, "--prompt", "", [&](const std::string& v) { parsed.text = v; });
  IntFlag(app, "--steps", "", [&](int64_t v) { parsed.integer = v; });
  SwitchFlag(app, "parallel_residual", "", [&](bool v) { parsed.on = v; });
  TextsFlag(app, "--stop", "", [&](const std::string& v) { parsed.stops.push_back(v); });
  try {
    app.parse(Arguments(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError&) {
    parsed.ok = false;
  }
  return parsed;
}

TEST(Flags, TextComesAsItWasWritten) {
  for (const char* text : {"", "[a,b]", "{}", "a b", "--x", "-", "%%", "\"q\"", "[]"}) {
    EXPECT_EQ(Parse({"--prompt", text}).text, text);
  }
}

TEST(Flags, ARepeatedFlagKeepsEachValueWhole) {
  EXPECT_EQ(Parse({"--stop", "[a,b]", "--stop", "c,d"}).stops, (Arguments{"[a,b]", "c,d"}));
  EXPECT_FALSE(Parse({"--prompt", "a", "--prompt", "b"}).ok);
}

TEST(Flags, ANumberThatIsNoneIsAUsageError) {
  EXPECT_EQ(Parse({"--steps", "-5"}).integer, -5);
  EXPECT_FALSE(Parse({"--steps", "5x"}).ok);
  EXPECT_FALSE(Parse({"--steps", "99999999999999999999"}).ok);
}

TEST(Flags, ASwitchIsUnsetOnOrOff) {
  EXPECT_EQ(Parse({}).on, std::nullopt);
  EXPECT_EQ(Parse({"--parallel_residual"}).on, true);
  EXPECT_EQ(Parse({"--no_parallel_residual"}).on, false);
  EXPECT_EQ(Parse({"--parallel_residual=false"}).on, false);
}

}  // namespace
}  // namespace lfm2
