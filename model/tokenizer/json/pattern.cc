#include "model/tokenizer/json/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/oniguruma.h"

namespace lfm2 {
namespace {

constexpr size_t kLongestPattern = 16 << 10;  // bytes; the longest in use has 2 KiB
constexpr uint32_t kMatchLimit = 10'000'000;  // plus 16 per byte of text
constexpr uint32_t kDepthLimit = 100'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;

struct Pcre2Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};
template <typename T>
using Pcre2Ptr = std::unique_ptr<T, Pcre2Free>;

// Working memory of a match, one per thread: creating it costs more than most matches.
struct MatchMemory {
  Pcre2Ptr<pcre2_match_data> data{pcre2_match_data_create(1, nullptr)};
  Pcre2Ptr<pcre2_match_context> context{pcre2_match_context_create(nullptr)};
  Pcre2Ptr<pcre2_jit_stack> stack{pcre2_jit_stack_create(32 << 10, 4 << 20, nullptr)};
};

std::string ErrorText(int code) {
  unsigned char buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

class RegexPattern : public Pattern {
 public:
  explicit RegexPattern(Pcre2Ptr<pcre2_code> code) : code_(std::move(code)) {}

  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const override {
    thread_local MatchMemory memory;
    if (!memory.data || !memory.context || !memory.stack) {
      return Error(Reason::kOutOfMemory, "no memory to match a pattern");
    }
    const uint64_t limit = kMatchLimit + uint64_t{16} * text.size();
    pcre2_set_match_limit(memory.context.get(),
                          static_cast<uint32_t>(std::min<uint64_t>(limit, UINT32_MAX)));
    pcre2_set_depth_limit(memory.context.get(), kDepthLimit);
    pcre2_set_heap_limit(memory.context.get(), kHeapLimitKib);
    pcre2_jit_stack_assign(memory.context.get(), nullptr, memory.stack.get());
    std::vector<TextRange> matches;
    size_t from = 0;
    while (from <= text.size()) {
      LFM2_ASSIGN_OR_RETURN(const std::optional<TextRange> match, FindFrom(text, from, memory));
      if (!match) break;
      const bool empty = match->begin == match->end;
      if (empty && !matches.empty() && matches.back().end == match->end) {
        // Skips an empty match directly after the previous match.
        from += from < text.size() ? NextUtf8(text.substr(from)).bytes : 1;
        continue;
      }
      matches.push_back(*match);
      from = match->end;
    }
    return matches;
  }

 private:
  absl::StatusOr<std::optional<TextRange>> FindFrom(std::string_view text, size_t from,
                                                    MatchMemory& memory) const {
    const int result =
        pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                    PCRE2_NO_UTF_CHECK, memory.data.get(), memory.context.get());
    if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (result < 0) {
      return Error(Reason::kInvalidArgument,
                   absl::StrCat("the tokenizer's pattern fails on this text of ", text.size(),
                                " bytes: ", ErrorText(result)));
    }
    const size_t* range = pcre2_get_ovector_pointer(memory.data.get());
    return TextRange{range[0], std::max(range[0], range[1])};
  }

  Pcre2Ptr<pcre2_code> code_;
};

class LiteralPattern : public Pattern {
 public:
  explicit LiteralPattern(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const override {
    std::vector<TextRange> matches;
    if (text_.empty()) return matches;
    for (size_t at = text.find(text_); at != std::string_view::npos;
         at = text.find(text_, at + text_.size())) {
      matches.push_back({at, at + text_.size()});
    }
    return matches;
  }

 private:
  std::string text_;
};

// The whole text as alternating ranges: what matches and what lies between.
struct Stretch {
  TextRange range;
  bool is_match;
};

std::vector<Stretch> StretchesOf(size_t size, const std::vector<TextRange>& matches, SplitBy by) {
  std::vector<Stretch> stretches;
  size_t at = 0;
  const bool match_value = by == SplitBy::kMatches;
  for (const TextRange& match : matches) {
    if (at < match.begin) stretches.push_back({{at, match.begin}, !match_value});
    stretches.push_back({match, match_value});
    at = match.end;
  }
  if (at < size) stretches.push_back({{at, size}, !match_value});
  return stretches;
}

std::vector<TextRange> MergeWithPrevious(const std::vector<Stretch>& stretches) {
  std::vector<TextRange> pieces;
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (stretch.is_match && !previous_match && !pieces.empty()) {
      pieces.back().end = stretch.range.end;
    } else {
      pieces.push_back(stretch.range);
    }
    previous_match = stretch.is_match;
  }
  return pieces;
}

std::vector<TextRange> MergeWithNext(const std::vector<Stretch>& stretches) {
  std::vector<TextRange> pieces;
  bool previous_match = false;
  for (auto it = stretches.rbegin(); it != stretches.rend(); ++it) {
    if (it->is_match && !previous_match && !pieces.empty()) {
      pieces.back().begin = it->range.begin;
    } else {
      pieces.push_back(it->range);
    }
    previous_match = it->is_match;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<TextRange> MergeEqual(const std::vector<Stretch>& stretches) {
  std::vector<TextRange> pieces;
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (stretch.is_match == previous_match && !pieces.empty()) {
      pieces.back().end = stretch.range.end;
    } else {
      pieces.push_back(stretch.range);
    }
    previous_match = stretch.is_match;
  }
  return pieces;
}

std::vector<TextRange> PiecesOf(const std::vector<Stretch>& stretches, SplitBehavior behavior) {
  if (behavior == SplitBehavior::kMergedWithPrevious) return MergeWithPrevious(stretches);
  if (behavior == SplitBehavior::kMergedWithNext) return MergeWithNext(stretches);
  if (behavior == SplitBehavior::kContiguous) return MergeEqual(stretches);
  std::vector<TextRange> pieces;
  for (const Stretch& stretch : stretches) {
    if (behavior == SplitBehavior::kIsolated || !stretch.is_match) pieces.push_back(stretch.range);
  }
  return pieces;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Pattern>> MakeRegex(std::string_view oniguruma,
                                                         std::string_view where) {
  if (oniguruma.size() > kLongestPattern) {
    return TokenizerError(
        where, absl::StrCat("pattern has ", oniguruma.size(), " bytes, limit ", kLongestPattern));
  }
  const absl::StatusOr<std::string> translated = OnigurumaToPcre2(oniguruma);
  if (!translated.ok()) return TokenizerError(where, std::string(translated.status().message()));
  Pcre2Ptr<pcre2_compile_context> context{pcre2_compile_context_create(nullptr)};
  if (!context) return Error(Reason::kOutOfMemory, "no memory to compile a pattern");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 50);
  int error = 0;
  size_t offset = 0;
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  Pcre2Ptr<pcre2_code> code{pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()),
                                          translated->size(), kOptions, &error, &offset,
                                          context.get())};
  if (!code) return TokenizerError(where, "pattern: " + ErrorText(error));
  pcre2_jit_compile(code.get(),
                    PCRE2_JIT_COMPLETE);  // without JIT, the interpreter gives the same matches
  return std::make_unique<RegexPattern>(std::move(code));
}

std::unique_ptr<const Pattern> MakeLiteral(std::string_view text) {
  return std::make_unique<LiteralPattern>(text);
}

absl::StatusOr<std::unique_ptr<const Pattern>> PatternFromJson(const Json* json,
                                                               std::string_view where) {
  if (json == nullptr) return TokenizerError(where, "pattern is missing");
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(*json, std::string(where) + ".pattern"));
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"String", "Regex"}));
  if (json->size() != 1) return TokenizerError(where, "pattern must be one of String and Regex");
  if (fields.Find("String") != nullptr) {
    LFM2_ASSIGN_OR_RETURN(const std::string text, fields.RequiredString("String"));
    return MakeLiteral(text);
  }
  LFM2_ASSIGN_OR_RETURN(const std::string text, fields.RequiredString("Regex"));
  return MakeRegex(text, where);
}

absl::StatusOr<SplitBehavior> SplitBehaviorByName(std::string_view name, std::string_view where) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return TokenizerError(where, "behavior \"" + Shortened(name) + "\" is not known");
}

std::vector<TextRange> SplitByMatches(size_t size, const std::vector<TextRange>& matches,
                                      SplitBehavior behavior, SplitBy by) {
  std::vector<TextRange> pieces = PiecesOf(StretchesOf(size, matches, by), behavior);
  std::erase_if(pieces, [](const TextRange& piece) { return piece.begin == piece.end; });
  return pieces;
}

}  // namespace lfm2
