#include "model/tokenizer/unicode/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "model/tokenizer/unicode/unicode_additions.h"

namespace lfm2 {
namespace {

utf8proc_category_t CategoryOf(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

bool IsBetween(char32_t code_point, char32_t lowest, char32_t highest) {
  return code_point >= lowest && code_point <= highest;
}

// The circled and squared letters: Other_Alphabetic that is not in M.
bool IsEnclosedLetter(char32_t c) {
  return IsBetween(c, 0x24B6, 0x24E9) || IsBetween(c, 0x1F130, 0x1F149) ||
         IsBetween(c, 0x1F150, 0x1F169) || IsBetween(c, 0x1F170, 0x1F189);
}

// Category of a character that is newer than the library's Unicode version; "" when our table does
// not have it either.
std::string_view AddedCategoryOf(char32_t c) {
  const std::span<const CategoryRange> ranges = AddedSinceUnicode14();
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), c,
      [](char32_t point, const CategoryRange& range) { return point < range.first; });
  if (after == ranges.begin() || c > std::prev(after)->last) return "";
  return std::prev(after)->category;
}

bool IsAddedWordCharacter(char32_t c) {
  const std::string_view category = AddedCategoryOf(c);
  return category.starts_with('L') || category.starts_with('M') || category == "Nd" ||
         category == "Nl" || category == "Pc";
}

}  // namespace

bool IsWhitespace(char32_t c) {
  return IsBetween(c, 0x09, 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         IsBetween(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsNumeric(char32_t c) {
  const utf8proc_category_t category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsPunctuation(char32_t c) {
  if (c < 0x80) {
    return IsBetween(c, '!', '/') || IsBetween(c, ':', '@') || IsBetween(c, '[', '`') ||
           IsBetween(c, '{', '~');
  }
  const utf8proc_category_t category = CategoryOf(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsWordCharacter(char32_t c) {
  switch (CategoryOf(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_CN:
      return IsAddedWordCharacter(c);
    default:
      return c == 0x200C || c == 0x200D || IsEnclosedLetter(c);
  }
}

}  // namespace lfm2
