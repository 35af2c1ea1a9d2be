// Finds the known word that a mistyped one probably means. Thread rule: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lfm2 {

// How many bytes to add, drop or change to turn `a` into `b`.
int64_t EditDistance(std::string_view a, std::string_view b);

// The word nearest to `word`, the first on a tie; empty when `words` is empty.
std::string NearestWord(std::string_view word, const std::vector<std::string>& words);

}  // namespace lfm2
