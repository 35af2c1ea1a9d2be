#include "base/utf8.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

std::string Replaced(std::string_view bytes, Utf8Replacement replacement) {
  std::string out;
  EXPECT_EQ(AppendReplacingInvalid(bytes, replacement, Utf8End::kFinal, out), bytes.size());
  return out;
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, text);
    const Utf8Step step = NextUtf8(text);
    ASSERT_EQ(step.kind, Utf8Kind::kValid) << static_cast<uint32_t>(c);
    ASSERT_TRUE(step.code_point == c);
    ASSERT_EQ(step.bytes, text.size());
  }
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndWhatIsTooHigh) {
  for (const char* bytes : {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                            "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(CheckUtf8(bytes).ok());
  }
}

TEST(Utf8, NamesTheOffsetOfTheFirstWrongByte) {
  const ErrorDetails details = DetailsOf(CheckUtf8("ab\xC3\xA9\xE2\x82"));
  EXPECT_EQ(details.reason, Reason::kInvalidUtf8);
  EXPECT_EQ(details.metadata.at("offset"), "4");
}

// The values are those of Rust's String::from_utf8_lossy.
TEST(Utf8, ReplacesMaximalSubparts) {
  EXPECT_EQ(Replaced("a\xE2\x82z", Utf8Replacement::kMaximalSubpart), "a\uFFFDz");
  EXPECT_EQ(Replaced("\xF0\x9F\x98", Utf8Replacement::kMaximalSubpart), "\uFFFD");
  EXPECT_EQ(Replaced("\xF0\x80\x80", Utf8Replacement::kMaximalSubpart), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xED\xA0\x80", Utf8Replacement::kMaximalSubpart), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xC3\xC3\xA9", Utf8Replacement::kMaximalSubpart), "\uFFFD\u00E9");
}

TEST(Utf8, ReplacesEachByteWhenAskedTo) {
  EXPECT_EQ(Replaced("\xE2\x82z", Utf8Replacement::kEachByte), "\uFFFD\uFFFDz");
}

TEST(Utf8, LeavesAnIncompleteCharacterThatMayContinue) {
  std::string out;
  EXPECT_EQ(AppendReplacingInvalid("a\xE2\x82", Utf8Replacement::kMaximalSubpart,
                                   Utf8End::kMayContinue, out),
            1u);
  EXPECT_EQ(out, "a");
}

}  // namespace
}  // namespace lfm2
