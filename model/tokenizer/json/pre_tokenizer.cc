#include "model/tokenizer/json/pre_tokenizer.h"

#include <functional>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/byte_level.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/metaspace.h"
#include "model/tokenizer/json/pattern.h"
#include "model/tokenizer/unicode/unicode.h"

namespace lfm2 {
namespace {

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;
constexpr int kDeepest = 8;
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void AppendPieces(const Piece& piece, const std::vector<TextRange>& ranges,
                  std::vector<Piece>& out) {
  for (const TextRange& range : ranges) {
    out.push_back({piece.text.substr(range.begin, range.end - range.begin),
                   piece.at_start && range.begin == 0});
  }
}

class PatternSplit : public PreTokenizer {
 public:
  PatternSplit(std::unique_ptr<const Pattern> pattern, SplitBehavior behavior, SplitBy by)
      : pattern_(std::move(pattern)), behavior_(behavior), by_(by) {}

  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    std::vector<Piece> out;
    for (const Piece& piece : pieces) {
      LFM2_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_->FindAll(piece.text));
      AppendPieces(piece, SplitByMatches(piece.text.size(), matches, behavior_, by_), out);
    }
    return out;
  }

 private:
  std::unique_ptr<const Pattern> pattern_;
  SplitBehavior behavior_;
  SplitBy by_;
};

// Each character of a class is a match.
class CharacterSplit : public PreTokenizer {
 public:
  using Predicate = std::function<bool(char32_t)>;
  CharacterSplit(Predicate is_match, SplitBehavior behavior)
      : is_match_(std::move(is_match)), behavior_(behavior) {}

  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    std::vector<Piece> out;
    for (const Piece& piece : pieces) {
      std::vector<TextRange> matches;
      for (size_t at = 0; at < piece.text.size();) {
        const Utf8Step step = NextUtf8(std::string_view(piece.text).substr(at));
        if (is_match_(step.code_point)) matches.push_back({at, at + step.bytes});
        at += step.bytes;
      }
      AppendPieces(piece, SplitByMatches(piece.text.size(), matches, behavior_, SplitBy::kMatches),
                   out);
    }
    return out;
  }

 private:
  Predicate is_match_;
  SplitBehavior behavior_;
};

// Splits into runs of word characters and runs of other characters; drops white space.
class WordSplit : public PreTokenizer {
 public:
  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    std::vector<Piece> out;
    for (const Piece& piece : pieces) AppendPieces(piece, Runs(piece.text), out);
    return out;
  }

 private:
  enum class Kind { kSpace, kWord, kOther };
  static Kind KindOf(char32_t c) {
    if (IsWordCharacter(c)) return Kind::kWord;
    return IsWhitespace(c) ? Kind::kSpace : Kind::kOther;
  }
  static std::vector<TextRange> Runs(std::string_view text) {
    std::vector<TextRange> runs;
    Kind last = Kind::kSpace;
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = NextUtf8(text.substr(at));
      const Kind kind = KindOf(step.code_point);
      if (kind != Kind::kSpace && kind == last) {
        runs.back().end += step.bytes;
      } else if (kind != Kind::kSpace) {
        runs.push_back({at, at + step.bytes});
      }
      last = kind;
      at += step.bytes;
    }
    return runs;
  }
};

class ByteLevelSplit : public PreTokenizer {
 public:
  ByteLevelSplit(bool add_prefix_space, std::unique_ptr<const Pattern> pattern)
      : add_prefix_space_(add_prefix_space), pattern_(std::move(pattern)) {}

  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    std::vector<Piece> out;
    for (Piece& piece : pieces) {
      if (add_prefix_space_ && !piece.text.empty() && piece.text[0] != ' ')
        piece.text.insert(0, " ");
      if (pattern_ == nullptr) {
        out.push_back(std::move(piece));
        continue;
      }
      LFM2_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_->FindAll(piece.text));
      AppendPieces(
          piece,
          SplitByMatches(piece.text.size(), matches, SplitBehavior::kIsolated, SplitBy::kMatches),
          out);
    }
    for (Piece& piece : out) {
      std::string mapped;
      AppendByteLevel(piece.text, mapped);
      piece.text = std::move(mapped);
    }
    return out;
  }

 private:
  bool add_prefix_space_;
  std::unique_ptr<const Pattern> pattern_;  // nullptr: does not split
};

class MetaspaceSplit : public PreTokenizer {
 public:
  explicit MetaspaceSplit(Metaspace metaspace)
      : metaspace_(std::move(metaspace)), space_(MakeLiteral(metaspace_.replacement)) {}

  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    std::vector<Piece> out;
    for (const Piece& piece : pieces) {
      Piece replaced{metaspace_.Replace(piece.text, piece.at_start), piece.at_start};
      if (!metaspace_.split) {
        out.push_back(std::move(replaced));
        continue;
      }
      LFM2_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, space_->FindAll(replaced.text));
      AppendPieces(replaced,
                   SplitByMatches(replaced.text.size(), matches, SplitBehavior::kMergedWithNext,
                                  SplitBy::kMatches),
                   out);
    }
    return out;
  }

 private:
  Metaspace metaspace_;
  std::unique_ptr<const Pattern> space_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<PreTokenizerPtr> parts) : parts_(std::move(parts)) {}
  absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const override {
    for (const PreTokenizerPtr& part : parts_) {
      LFM2_ASSIGN_OR_RETURN(pieces, part->Split(std::move(pieces)));
    }
    return pieces;
  }

 private:
  std::vector<PreTokenizerPtr> parts_;
};

absl::StatusOr<PreTokenizerPtr> Parse(const Json& json, std::string_view where, int depth);

absl::StatusOr<PreTokenizerPtr> ParseSequence(const JsonFields& fields, int depth) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "pretokenizers"}));
  LFM2_ASSIGN_OR_RETURN(const Json* list, fields.RequiredArray("pretokenizers"));
  if (depth == kDeepest) return TokenizerError(fields.where(), "is nested too deep");
  std::vector<PreTokenizerPtr> parts;
  for (const Json& item : *list) {
    LFM2_ASSIGN_OR_RETURN(PreTokenizerPtr part, Parse(item, fields.where(), depth + 1));
    parts.push_back(std::move(part));
  }
  return std::make_unique<PreTokenizerSequence>(std::move(parts));
}

absl::StatusOr<PreTokenizerPtr> ParseSplit(const JsonFields& fields) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "pattern", "behavior", "invert"}));
  LFM2_ASSIGN_OR_RETURN(auto pattern, PatternFromJson(fields.Find("pattern"), fields.where()));
  LFM2_ASSIGN_OR_RETURN(const std::string name, fields.RequiredString("behavior"));
  LFM2_ASSIGN_OR_RETURN(const SplitBehavior behavior, SplitBehaviorByName(name, fields.where()));
  LFM2_ASSIGN_OR_RETURN(const bool invert, fields.Bool("invert", false));
  return std::make_unique<PatternSplit>(std::move(pattern), behavior,
                                        invert ? SplitBy::kGaps : SplitBy::kMatches);
}

absl::StatusOr<PreTokenizerPtr> ParseByteLevel(const JsonFields& fields) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "add_prefix_space", "use_regex", "trim_offsets"}));
  LFM2_ASSIGN_OR_RETURN(const bool add_prefix_space, fields.Bool("add_prefix_space", true));
  LFM2_ASSIGN_OR_RETURN(const bool use_regex, fields.Bool("use_regex", true));
  std::unique_ptr<const Pattern> pattern;
  if (use_regex) {
    LFM2_ASSIGN_OR_RETURN(pattern, MakeRegex(kGpt2Pattern, fields.where()));
  }
  return std::make_unique<ByteLevelSplit>(add_prefix_space, std::move(pattern));
}

absl::StatusOr<PreTokenizerPtr> ParseCharacters(const JsonFields& fields, std::string_view type) {
  if (type == "Digits") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "individual_digits"}));
    LFM2_ASSIGN_OR_RETURN(const bool individual, fields.Bool("individual_digits", false));
    return std::make_unique<CharacterSplit>(
        IsNumeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "behavior"}));
    LFM2_ASSIGN_OR_RETURN(const std::string name, fields.String("behavior", "Isolated"));
    LFM2_ASSIGN_OR_RETURN(const SplitBehavior behavior, SplitBehaviorByName(name, fields.where()));
    return std::make_unique<CharacterSplit>(IsPunctuation, behavior);
  }
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "delimiter"}));
  LFM2_ASSIGN_OR_RETURN(const std::string delimiter, fields.RequiredString("delimiter"));
  if (delimiter.empty() || NextUtf8(delimiter).bytes != delimiter.size()) {
    return TokenizerError(fields.where(), "delimiter must be one character");
  }
  return std::make_unique<PatternSplit>(MakeLiteral(delimiter), SplitBehavior::kRemoved,
                                        SplitBy::kMatches);
}

absl::StatusOr<PreTokenizerPtr> Parse(const Json& json, std::string_view where, int depth) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields outer, JsonFields::Of(json, where));
  LFM2_ASSIGN_OR_RETURN(const std::string type, outer.RequiredString("type"));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(json, "pre_tokenizer." + Shortened(type)));
  if (type == "Sequence") return ParseSequence(fields, depth);
  if (type == "Split") return ParseSplit(fields);
  if (type == "ByteLevel") return ParseByteLevel(fields);
  if (type == "Digits" || type == "Punctuation" || type == "CharDelimiterSplit")
    return ParseCharacters(fields, type);
  if (type == "Metaspace") {
    LFM2_ASSIGN_OR_RETURN(Metaspace metaspace, Metaspace::FromJson(fields));
    return std::make_unique<MetaspaceSplit>(std::move(metaspace));
  }
  if (type == "Whitespace" || type == "WhitespaceSplit") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type"}));
    if (type == "Whitespace") return std::make_unique<WordSplit>();
    return std::make_unique<CharacterSplit>(IsWhitespace, SplitBehavior::kRemoved);
  }
  return TokenizerError("pre_tokenizer", "type \"" + Shortened(type) + "\" is not supported");
}

}  // namespace

absl::StatusOr<PreTokenizerPtr> PreTokenizerFromJson(const Json* json) {
  if (json == nullptr) return nullptr;
  return Parse(*json, "pre_tokenizer", 0);
}

}  // namespace lfm2
