#include "model/tokenizer/json/bpe.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {
namespace {

constexpr size_t kLongestPiece = size_t{1} << 30;  // bytes; symbols are indexed by int32
constexpr size_t kMostMerges = size_t{1} << 23;

std::string ByteToken(int byte) { return absl::StrFormat("<0x%02X>", byte); }

// The top of the heap has the lowest rank; of equal ranks, the leftmost pair.
bool IsLater(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

absl::StatusOr<BpeModel> BpeModel::FromJson(const Json& json) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, "model"));
  LFM2_ASSIGN_OR_RETURN(const std::string type,
                        fields.String("type", fields.Find("merges") ? "BPE" : "(none)"));
  if (type != "BPE")
    return TokenizerError("model",
                          "type \"" + Shortened(type) + "\" is not supported, only BPE is");
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "dropout", "unk_token", "continuing_subword_prefix",
                                        "end_of_word_suffix", "fuse_unk", "byte_fallback",
                                        "ignore_merges", "vocab", "merges"}));
  const Json* dropout = fields.Find("dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0.0)) {
    return TokenizerError("model", "dropout must be null or 0: encoding would be random");
  }
  BpeModel model;
  LFM2_ASSIGN_OR_RETURN(const Json* vocab, fields.RequiredObject("vocab"));
  LFM2_ASSIGN_OR_RETURN(model.vocabulary_, Vocabulary::FromJson(*vocab));
  LFM2_RETURN_IF_ERROR(model.ReadOptions(json));
  LFM2_ASSIGN_OR_RETURN(const Json* merges, fields.RequiredArray("merges"));
  LFM2_RETURN_IF_ERROR(model.ReadMerges(*merges));
  return model;
}

absl::Status BpeModel::ReadOptions(const Json& json) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, "model"));
  LFM2_ASSIGN_OR_RETURN(prefix_, fields.String("continuing_subword_prefix", ""));
  LFM2_ASSIGN_OR_RETURN(suffix_, fields.String("end_of_word_suffix", ""));
  LFM2_ASSIGN_OR_RETURN(fuse_unk_, fields.Bool("fuse_unk", false));
  LFM2_ASSIGN_OR_RETURN(ignore_merges_, fields.Bool("ignore_merges", false));
  if (fields.Find("unk_token") != nullptr) {
    LFM2_ASSIGN_OR_RETURN(const std::string unk, fields.RequiredString("unk_token"));
    unk_ = vocabulary_.Find(unk);
    if (!unk_)
      return TokenizerError("model",
                            "unk_token \"" + Shortened(unk) + "\" is not in the vocabulary");
  }
  LFM2_ASSIGN_OR_RETURN(const bool byte_fallback, fields.Bool("byte_fallback", false));
  for (int byte = 0; byte_fallback && byte < 256; ++byte)
    byte_ids_.push_back(vocabulary_.Find(ByteToken(byte)));
  return absl::OkStatus();
}

absl::Status BpeModel::ReadMerges(const Json& merges) {
  if (merges.size() > kMostMerges) {
    return TokenizerError("model.merges",
                          absl::StrCat(merges.size(), " merges, limit ", kMostMerges));
  }
  merges_ = MergeTable(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    std::string left, right;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else if (merge.is_string()) {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ');
      if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
        left = text.substr(0, space);
        right = text.substr(space + 1);
      }
    }
    if (left.empty() || right.empty()) {
      return TokenizerError("model.merges", absl::StrCat("entry ", i, " must be two tokens"));
    }
    LFM2_RETURN_IF_ERROR(AddMerge(left, right, static_cast<int32_t>(i)));
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerge(const std::string& left, const std::string& right, int32_t rank) {
  const std::optional<int32_t> left_id = vocabulary_.Find(left);
  const std::optional<int32_t> right_id = vocabulary_.Find(right);
  std::optional<int32_t> merged_id;
  if (right.size() >= prefix_.size())
    merged_id = vocabulary_.Find(left + right.substr(prefix_.size()));
  if (!left_id || !right_id || !merged_id) {
    return TokenizerError(
        "model.merges",
        absl::StrCat("entry ", rank, " (\"", Shortened(left), "\", \"", Shortened(right),
                     "\") has a token that the vocabulary lacks"));
  }
  merges_.Set(*left_id, *right_id, {rank, *merged_id});
  return absl::OkStatus();
}

absl::Status BpeModel::Encode(std::string_view piece, const std::unordered_set<int32_t>* never,
                              BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (piece.empty()) return absl::OkStatus();
  if (piece.size() > kLongestPiece) {
    return Error(
        Reason::kInvalidArgument,
        absl::StrCat("a piece of ", piece.size(), " bytes is over the limit of ", kLongestPiece));
  }
  if (ignore_merges_) {
    const std::optional<int32_t> whole = vocabulary_.Find(piece);
    if (whole && (never == nullptr || !never->contains(*whole))) {
      out.push_back(*whole);
      return absl::OkStatus();
    }
  }
  LFM2_RETURN_IF_ERROR(AppendSymbols(piece, scratch));
  MergeAll(never, scratch);
  for (const BpeScratch::Symbol& symbol : scratch.symbols) {
    if (!symbol.merged_away) out.push_back(symbol.id);
  }
  return absl::OkStatus();
}

std::optional<int32_t> BpeModel::IdOfCharacter(std::string_view piece, size_t begin,
                                               size_t bytes) const {
  const std::string_view character = piece.substr(begin, bytes);
  const bool with_prefix = begin != 0 && !prefix_.empty();
  const bool with_suffix = begin + bytes == piece.size() && !suffix_.empty();
  if (!with_prefix && !with_suffix) return vocabulary_.Find(character);
  std::string text = with_prefix ? prefix_ : std::string();
  text += character;
  if (with_suffix) text += suffix_;
  return vocabulary_.Find(text);
}

bool BpeModel::AppendByteFallback(std::string_view text,
                                  std::vector<BpeScratch::Symbol>& symbols) const {
  if (byte_ids_.empty()) return false;
  const bool all = std::all_of(text.begin(), text.end(), [&](char c) {
    return byte_ids_[static_cast<uint8_t>(c)].has_value();
  });
  if (!all) return false;
  for (char c : text) symbols.push_back({*byte_ids_[static_cast<uint8_t>(c)], 0, 0, false});
  return true;
}

// An unknown character is held back until the next known one, so that a run of them can fuse. Bytes
// of a fallback do not end the run: that is the reference's order.
absl::Status BpeModel::AppendSymbols(std::string_view piece, BpeScratch& scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  symbols.clear();
  bool unk_waits = false;
  const auto put = [&symbols](int32_t id) { symbols.push_back({id, 0, 0, false}); };
  for (size_t at = 0; at < piece.size();) {
    const Utf8Step step = NextUtf8(piece.substr(at));
    const std::optional<int32_t> id = IdOfCharacter(piece, at, step.bytes);
    if (id) {
      if (unk_waits) put(*unk_);
      unk_waits = false;
      put(*id);
    } else if (!AppendByteFallback(piece.substr(at, step.bytes), symbols)) {
      if (!unk_) {
        return Error(Reason::kInvalidArgument,
                     absl::StrFormat("the tokenizer has no token for U+%04X and no unk_token",
                                     step.code_point));
      }
      if (unk_waits && !fuse_unk_) put(*unk_);
      unk_waits = true;
    }
    at += step.bytes;
  }
  if (unk_waits) put(*unk_);
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
  }
  return absl::OkStatus();
}

void BpeModel::PushCandidate(int32_t position, const std::unordered_set<int32_t>* never,
                             BpeScratch& scratch) const {
  if (position < 0) return;
  const BpeScratch::Symbol& left = scratch.symbols[static_cast<size_t>(position)];
  if (left.next < 0) return;
  const Merge* merge = merges_.Find(left.id, scratch.symbols[static_cast<size_t>(left.next)].id);
  if (merge == nullptr || (never != nullptr && never->contains(merge->id))) return;
  scratch.heap.push_back({merge->rank, position, merge->id});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), IsLater);
}

void BpeModel::MergeAll(const std::unordered_set<int32_t>* never, BpeScratch& scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  scratch.heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    PushCandidate(static_cast<int32_t>(i), never, scratch);
  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), IsLater);
    const BpeScratch::Candidate top = scratch.heap.back();
    scratch.heap.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(top.position)];
    if (left.merged_away || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    // The pair may have changed since it was pushed.
    const Merge* merge = merges_.Find(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;
    left.id = top.id;
    right.merged_away = true;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = top.position;
    PushCandidate(left.previous, never, scratch);
    PushCandidate(top.position, never, scratch);
  }
}

}  // namespace lfm2
