#include "model/tokenizer/unicode/unicode.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(Unicode, WordCharactersAreThoseOfTheReferencesVersion) {
  for (const char32_t c : {U'a', U'_', U'9', U'\u0301', U'\u200d', U'\u24b6', U'\u65e5',
                           U'\U00013460', U'\U00013800', U'\U000143fa', U'\U00010d40', U'\u0897'}) {
    EXPECT_TRUE(IsWordCharacter(c)) << std::hex << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U' ', U'-', U'\u00b2', U'\U000143fb', U'\U0001cc00', U'\U0010ffff'}) {
    EXPECT_FALSE(IsWordCharacter(c)) << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, NumbersAreOfEveryKind) {
  for (const char32_t c : {U'7', U'\u00bd', U'\u2167', U'\u0663'}) EXPECT_TRUE(IsNumeric(c));
  for (const char32_t c : {U'a', U'.', U'\u4e00'}) EXPECT_FALSE(IsNumeric(c));
}

}  // namespace
}  // namespace lfm2
