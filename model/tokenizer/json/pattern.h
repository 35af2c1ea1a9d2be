// A pattern of tokenizer.json: a plain string or a regular expression; and splitting a text by one.
//
// Regular expressions run in PCRE2 with UTF, UCP and a match limit that grows with the text:
// endless backtracking is an error, not a hang. Thread rule: const after making; all methods from
// many threads.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

struct TextRange {
  size_t begin;  // bytes
  size_t end;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  // Matches from left to right that do not overlap. `text` is valid UTF-8. kInvalidArgument at the
  // match limit.
  virtual absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const = 0;
};

absl::StatusOr<std::unique_ptr<const Pattern>> MakeRegex(std::string_view oniguruma,
                                                         std::string_view where);
std::unique_ptr<const Pattern> MakeLiteral(std::string_view text);
// {"String": …} or {"Regex": …}. kTokenizerInvalid.
absl::StatusOr<std::unique_ptr<const Pattern>> PatternFromJson(const Json* json,
                                                               std::string_view where);

// What happens to the matches when a text is split. Names and results are those of the reference.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
absl::StatusOr<SplitBehavior> SplitBehaviorByName(std::string_view name, std::string_view where);

enum class SplitBy { kMatches, kGaps };  // kGaps: what does not match is the delimiter ("invert")

// Pieces of a text of `size` bytes; empty ones are left out.
std::vector<TextRange> SplitByMatches(size_t size, const std::vector<TextRange>& matches,
                                      SplitBehavior behavior, SplitBy by);

}  // namespace lfm2
