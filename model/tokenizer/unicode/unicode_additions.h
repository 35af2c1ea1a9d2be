// Characters that are assigned in Unicode 16, the reference's version, and not in 14, which
// PCRE2 10.42 knows. Thread rule: plain data.
#pragma once

#include <span>

namespace lfm2 {

struct CategoryRange {
  char32_t first;
  char32_t last;
  char category[3];  // general category, two letters
};

std::span<const CategoryRange> AddedSinceUnicode14();  // sorted

}  // namespace lfm2
