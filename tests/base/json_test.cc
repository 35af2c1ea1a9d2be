#include "base/json.h"

#include <string>

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

std::string Nested(int64_t depth) {
  return std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']');
}

TEST(Json, ReadsValuesInTheirOrder) {
  const auto json = ParseJson(R"({"b": [1, -2, 2.5, "x", null, true], "a": {"c": []}})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->dump(), R"({"b":[1,-2,2.5,"x",null,true],"a":{"c":[]}})");
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_SAYS("\"a\" appears twice", ParseJson(R"({"a":1,"a":2})").status());
  EXPECT_SAYS("appears twice", ParseJson(R"([{"b":{"a":1,"\u0061":2}}])").status());
  EXPECT_TRUE(ParseJson(R"({"a":{"a":{"a":1}}})").ok());
}

TEST(Json, TakesTheDepthLimitAndRefusesOneMore) {
  EXPECT_TRUE(ParseJson(Nested(kDefaultLimits.json_depth)).ok());
  EXPECT_SAYS("deeper than the limit of 64",
              ParseJson(Nested(kDefaultLimits.json_depth + 1)).status());
  EXPECT_FALSE(ParseJson(std::string(1'000'000, '[')).ok());
  EXPECT_FALSE(ParseJson("[[]]", {.bytes = 10, .depth = 1}).ok());
}

TEST(Json, TakesTheByteLimitAndRefusesOneMore) {
  EXPECT_TRUE(ParseJson("[1]", {.bytes = 3}).ok());
  EXPECT_SAYS("limit of 2", ParseJson("[1]", {.bytes = 2}).status());
}

TEST(Json, NamesTheByteThatIsWrong) {
  const absl::Status status = ParseJson("{\"a\": tru}").status();
  EXPECT_REASON("INVALID_ARGUMENT", status);
  EXPECT_EQ(DetailsOf(status).metadata.count("offset"), 1u);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const std::string text : {"", " ", "{", "[1,]", "{\"a\"}", "nan", "NaN", "'a'", "1 2",
                                 "\"\xff\"", "\"\\ud800\"", "1e999", "\"\x01\"", "// c\n1"}) {
    EXPECT_REASON("INVALID_ARGUMENT", ParseJson(text).status());
  }
}

}  // namespace
}  // namespace lfm2
