#include "model/tokenizer/json/added_tokens.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/unicode/unicode.h"

namespace lfm2 {
namespace {

// At worst a search costs text bytes x longest token; the longest in use has 80 bytes.
constexpr size_t kLongestContent = 512;

char32_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return NextUtf8(text.substr(at)).code_point;
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(LastCharacter(text));
}
bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(NextUtf8(text).code_point);
}

size_t WithoutSpacesAtEnd(std::string_view text) {
  while (!text.empty()) {
    const char32_t last = LastCharacter(text);
    if (!IsWhitespace(last)) break;
    std::string encoded;
    AppendUtf8(last, encoded);
    text.remove_suffix(encoded.size());
  }
  return text.size();
}

size_t SpacesAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = NextUtf8(text.substr(at));
    if (!IsWhitespace(step.code_point)) break;
    at += step.bytes;
  }
  return at;
}

absl::StatusOr<AddedToken> ParseToken(const Json& json) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, "added_tokens"));
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys(
      {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
  AddedToken token;
  LFM2_ASSIGN_OR_RETURN(const int64_t id,
                        fields.RequiredInt("id", 0, kDefaultLimits.vocab_size - 1));
  token.id = static_cast<int32_t>(id);
  LFM2_ASSIGN_OR_RETURN(token.content, fields.RequiredString("content"));
  LFM2_ASSIGN_OR_RETURN(token.single_word, fields.Bool("single_word", false));
  LFM2_ASSIGN_OR_RETURN(token.lstrip, fields.Bool("lstrip", false));
  LFM2_ASSIGN_OR_RETURN(token.rstrip, fields.Bool("rstrip", false));
  LFM2_ASSIGN_OR_RETURN(token.special, fields.Bool("special", false));
  LFM2_ASSIGN_OR_RETURN(token.normalized, fields.Bool("normalized", !token.special));
  if (token.content.empty() || token.content.size() > kLongestContent) {
    return TokenizerError("added_tokens",
                          absl::StrCat("content of id ", id, " has ", token.content.size(),
                                       " bytes, must be 1 to ", kLongestContent));
  }
  return token;
}

}  // namespace

int32_t TokenTrie::Child(int32_t node, char byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].first_child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte) {
    child = nodes_[static_cast<size_t>(child)].next_sibling;
  }
  return child;
}

int32_t TokenTrie::MakeChild(int32_t node, char byte) {
  const int32_t existing = Child(node, byte);
  if (existing >= 0) return existing;
  const auto made = static_cast<int32_t>(nodes_.size());
  nodes_.push_back({byte, -1, nodes_[static_cast<size_t>(node)].first_child, -1});
  nodes_[static_cast<size_t>(node)].first_child = made;
  return made;
}

void TokenTrie::Add(std::string_view text, int32_t value) {
  int32_t& root = root_[static_cast<uint8_t>(text[0])];
  if (root < 0) {
    root = static_cast<int32_t>(nodes_.size());
    nodes_.push_back({text[0]});
  }
  int32_t node = root;
  for (char byte : text.substr(1)) node = MakeChild(node, byte);
  nodes_[static_cast<size_t>(node)].value = value;
}

std::optional<TokenTrie::Found> TokenTrie::LongestAt(std::string_view text) const {
  std::optional<Found> longest;
  int32_t node = root_[static_cast<uint8_t>(text[0])];
  for (size_t depth = 1; node >= 0; ++depth) {
    if (nodes_[static_cast<size_t>(node)].value >= 0)
      longest = Found{nodes_[static_cast<size_t>(node)].value, depth};
    if (depth == text.size()) break;
    node = Child(node, text[depth]);
  }
  return longest;
}

absl::StatusOr<AddedTokens> AddedTokens::FromJson(const Json* list, const Normalizer* normalizer) {
  AddedTokens added;
  if (list == nullptr) return added;
  if (!list->is_array()) return TokenizerError("added_tokens", "must be an array");
  std::unordered_set<std::string> contents;
  for (const Json& json : *list) {
    LFM2_ASSIGN_OR_RETURN(AddedToken token, ParseToken(json));
    if (!contents.insert(token.content).second) {
      return TokenizerError("added_tokens", "\"" + Shortened(token.content) + "\" appears twice");
    }
    if (token.special) added.special_.insert(token.id);
    std::string key = token.content;
    if (token.normalized && normalizer != nullptr) {
      LFM2_ASSIGN_OR_RETURN(key, normalizer->Normalize(std::move(key)));
    }
    const auto index = static_cast<int32_t>(added.tokens_.size());
    if (!key.empty()) (token.normalized ? added.normalized_ : added.raw_).Add(key, index);
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

std::vector<AddedTokens::Segment> AddedTokens::SplitRaw(std::string_view text,
                                                        SpecialTokens special) const {
  return Split(raw_, text, special);
}

std::vector<AddedTokens::Segment> AddedTokens::SplitNormalized(std::string_view text,
                                                               SpecialTokens special) const {
  return Split(normalized_, text, special);
}

std::vector<AddedTokens::Segment> AddedTokens::Split(const TokenTrie& trie, std::string_view text,
                                                     SpecialTokens special) const {
  std::vector<Segment> segments;
  size_t done = 0;  // everything before this offset is in a segment
  for (size_t at = 0; at < text.size();) {
    const std::optional<TokenTrie::Found> found = trie.LongestAt(text.substr(at));
    if (!found) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(found->value)];
    size_t begin = at;
    size_t end = at + found->bytes;
    at = end;
    if (token.special && special == SpecialTokens::kKeepAsText) continue;
    if (token.single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end))))
      continue;
    if (token.lstrip) begin = std::max(WithoutSpacesAtEnd(text.substr(0, begin)), done);
    if (token.rstrip) end += SpacesAtStart(text.substr(end));
    if (done < begin) segments.push_back({text.substr(done, begin - done), std::nullopt});
    segments.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
  return segments;
}

}  // namespace lfm2
