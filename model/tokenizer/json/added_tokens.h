// The "added_tokens" of tokenizer.json: texts that are cut out of the input before BPE sees it.
//
// As in the reference, tokens with "normalized": false are found in the raw text and the others in
// the normalized text: the leftmost match first, and the longest there. Thread rule: const after
// making; all methods from many threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "model/tokenizer/json/normalizer.h"

namespace lfm2 {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

// Finds the longest of many strings at a position in a text.
class TokenTrie {
 public:
  TokenTrie() { root_.fill(-1); }
  void Add(std::string_view text, int32_t value);

  struct Found {
    int32_t value;
    size_t bytes;
  };
  std::optional<Found> LongestAt(std::string_view text) const;

 private:
  struct Node {
    char byte;
    int32_t first_child = -1;
    int32_t next_sibling = -1;
    int32_t value = -1;
  };
  int32_t Child(int32_t node, char byte) const;
  int32_t MakeChild(int32_t node, char byte);

  std::array<int32_t, 256> root_;
  std::vector<Node> nodes_;
};

enum class SpecialTokens { kParse, kKeepAsText };

class AddedTokens {
 public:
  struct Segment {
    std::string_view text;      // into the input; for a token, what it covers
    std::optional<int32_t> id;  // of a token
  };

  // Ids are taken from the file; the caller checks them against the vocabulary. kTokenizerInvalid.
  static absl::StatusOr<AddedTokens> FromJson(const Json* list, const Normalizer* normalizer);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  bool IsSpecial(int32_t id) const { return special_.contains(id); }

  // Searches the raw text first, then each normalized rest.
  std::vector<Segment> SplitRaw(std::string_view text, SpecialTokens special) const;
  std::vector<Segment> SplitNormalized(std::string_view text, SpecialTokens special) const;

 private:
  std::vector<Segment> Split(const TokenTrie& trie, std::string_view text,
                             SpecialTokens special) const;

  std::vector<AddedToken> tokens_;
  std::unordered_set<int32_t> special_;
  TokenTrie raw_, normalized_;
};

}  // namespace lfm2
