#include "model/tokenizer/unicode/unicode_form.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(UnicodeForm, ComposesAndDecomposes) {
  EXPECT_EQ(*ToUnicodeForm("A\u030A", UnicodeForm::kNfc), "\u00C5");
  EXPECT_EQ(*ToUnicodeForm("\u00C5", UnicodeForm::kNfd), "A\u030A");
  EXPECT_EQ(*ToUnicodeForm("\uFB01\u338F", UnicodeForm::kNfkc), "fikg");
  EXPECT_EQ(*ToUnicodeForm("\u1E69", UnicodeForm::kNfd), "s\u0323\u0307");
  EXPECT_EQ(*ToUnicodeForm("\u1112\u1161\u11AB", UnicodeForm::kNfc), "\uD55C");
  EXPECT_EQ(*ToUnicodeForm("", UnicodeForm::kNfkd), "");
}

// Values of the Rust library: its tables are of Unicode 9.
TEST(UnicodeForm, LeavesCharactersNewerThanTheReferencesTables) {
  EXPECT_EQ(*ToUnicodeForm("\u32FF", UnicodeForm::kNfkc), "\u32FF");
  EXPECT_EQ(*ToUnicodeForm("x\U0001FBF3y", UnicodeForm::kNfkd), "x\U0001FBF3y");
  EXPECT_EQ(*ToUnicodeForm("\U00011935\U00011930", UnicodeForm::kNfc), "\U00011935\U00011930");
  EXPECT_EQ(*ToUnicodeForm("a\u0301\u1ABF", UnicodeForm::kNfd), "a\u0301\u1ABF");
}

}  // namespace
}  // namespace lfm2
