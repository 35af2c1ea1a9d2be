// Byte-pair encoding of one piece: merges its characters pair by pair in the order of the merges'
// ranks.
//
// O(n log n) in the piece's characters: a heap holds the pairs that can merge. The result equals
// the reference's ("model" of type BPE in tokenizer.json), even if the merges are inconsistent.
// Source of the method: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with
// Subword Units". Thread rule: const after making; Encode from many threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "model/tokenizer/json/merge_table.h"
#include "model/tokenizer/json/vocabulary.h"

namespace lfm2 {

// Working memory of Encode, reused for all pieces of a text.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    int32_t previous;  // index; -1 at the ends
    int32_t next;
    bool merged_away;
  };
  struct Candidate {
    int32_t rank;
    int32_t position;
    int32_t id;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

class BpeModel {
 public:
  // The "model" object. kTokenizerInvalid naming what is wrong or not supported (dropout, other
  // model types).
  static absl::StatusOr<BpeModel> FromJson(const Json& model);

  Vocabulary& vocabulary() { return vocabulary_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }

  // Appends the ids of `piece`. `never`: ids that neither a whole piece nor a merge may
  // become. kInvalidArgument for a character without a token if the file has no unk_token.
  absl::Status Encode(std::string_view piece, const std::unordered_set<int32_t>* never,
                      BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  BpeModel() = default;
  absl::Status ReadOptions(const Json& model);
  absl::Status ReadMerges(const Json& merges);
  absl::Status AddMerge(const std::string& left, const std::string& right, int32_t rank);
  absl::Status AppendSymbols(std::string_view piece, BpeScratch& scratch) const;
  std::optional<int32_t> IdOfCharacter(std::string_view piece, size_t begin, size_t bytes) const;
  bool AppendByteFallback(std::string_view text, std::vector<BpeScratch::Symbol>& symbols) const;
  void PushCandidate(int32_t position, const std::unordered_set<int32_t>* never,
                     BpeScratch& scratch) const;
  void MergeAll(const std::unordered_set<int32_t>* never, BpeScratch& scratch) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::optional<int32_t> unk_;
  std::vector<std::optional<int32_t>> byte_ids_;  // <0x00> to <0xFF>; empty without byte_fallback
  std::string prefix_, suffix_;                   // continuing_subword_prefix, end_of_word_suffix
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
};

}  // namespace lfm2
