// Which known word a wrong one was meant to be. Thread rule: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lfm2 {

// Letters to add, drop or change to make `b` of `a`.
int64_t EditDistance(std::string_view a, std::string_view b);

// The nearest to `word`, the first of several; empty when there are no words.
std::string NearestWord(std::string_view word, const std::vector<std::string>& words);

}  // namespace lfm2
