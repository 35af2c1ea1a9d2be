#include "model/tokenizer/json/bpe_tokenizer.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/added_tokens.h"
#include "model/tokenizer/json/bpe.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/normalizer.h"
#include "model/tokenizer/json/post_processor.h"
#include "model/tokenizer/json/pre_tokenizer.h"
#include "model/tokenizer/json/token_decoder.h"

namespace lfm2 {
namespace {

struct Parts {
  BpeModel model;
  std::unique_ptr<const Normalizer> normalizer;       // nullptr: none
  std::unique_ptr<const PreTokenizer> pre_tokenizer;  // nullptr: none
  AddedTokens added;
  PostProcessor post_processor;
  TokenDecoder decoder;
};

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(Parts parts, std::string sha256, std::string chat_template)
      : parts_(std::move(parts)) {
    kind_ = "bpe";
    sha256_ = std::move(sha256);
    chat_template_ = std::move(chat_template);
    vocab_size_ = parts_.model.vocabulary().end();
    for (const AddedToken& token : parts_.added.tokens()) {
      if (token.special) special_ids_.insert(token.id);
    }
  }

  absl::Status TakeConfig(const TokenizerConfig& config) {
    LFM2_ASSIGN_OR_RETURN(bos_, IdOf("bos_token", config.bos_token));
    LFM2_ASSIGN_OR_RETURN(eos_, IdOf("eos_token", config.eos_token));
    LFM2_ASSIGN_OR_RETURN(pad_, IdOf("pad_token", config.pad_token));
    PostProcessor& post = parts_.post_processor;
    if (post.says_specials) return absl::OkStatus();
    if (config.add_bos_token.value_or(false) && bos_) post.before = {*bos_};
    if (config.add_eos_token.value_or(false) && eos_) post.after = {*eos_};
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    LFM2_RETURN_IF_ERROR(CheckUtf8(text));
    const SpecialTokens special =
        options.parse_special ? SpecialTokens::kParse : SpecialTokens::kKeepAsText;
    std::vector<int32_t> ids;
    if (options.add_special) ids = parts_.post_processor.before;
    for (const AddedTokens::Segment& segment : parts_.added.SplitRaw(text, special)) {
      if (segment.id) {
        ids.push_back(*segment.id);
        continue;
      }
      LFM2_RETURN_IF_ERROR(
          EncodeRaw(segment.text, segment.text.data() == text.data(), special, ids));
    }
    const std::vector<int32_t>& after = parts_.post_processor.after;
    if (options.add_special) ids.insert(ids.end(), after.begin(), after.end());
    return ids;
  }

  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids,
                                     bool skip_special) const override {
    std::string bytes;
    bool first = true;
    for (int32_t id : ids) {
      if (id < 0 || id >= vocab_size_) {
        return Error(Reason::kInvalidArgument,
                     absl::StrCat("token id ", id, " is outside the vocabulary of ", vocab_size_));
      }
      if (AddsNothing(id, skip_special)) continue;
      bytes += TokenBytes(id, skip_special, first);
      first = false;
    }
    std::string text;
    AppendReplacingInvalid(bytes, replacement(), Utf8End::kFinal, text);
    return text;
  }

  std::string TokenBytes(int32_t id, bool skip_special, bool first) const override {
    if (AddsNothing(id, skip_special)) return "";
    return parts_.decoder.BytesOf(*parts_.model.vocabulary().TokenOf(id), first);
  }

  std::optional<int32_t> TokenId(std::string_view token) const override {
    return parts_.model.vocabulary().Find(token);
  }
  bool IsSpecial(int32_t id) const override { return special_ids_.contains(id); }
  bool AddsNothing(int32_t id, bool skip_special) const override {
    return parts_.model.vocabulary().TokenOf(id) == nullptr || (skip_special && IsSpecial(id));
  }
  Utf8Replacement replacement() const override { return parts_.decoder.replacement(); }

 private:
  absl::StatusOr<std::optional<int32_t>> IdOf(std::string_view key,
                                              const std::optional<std::string>& token) const {
    if (!token) return std::nullopt;
    const std::optional<int32_t> id = TokenId(*token);
    if (!id) {
      return TokenizerError("tokenizer_config.json", std::string(key) + " \"" + Shortened(*token) +
                                                         "\" is not in the vocabulary");
    }
    return id;
  }

  absl::Status EncodeRaw(std::string_view raw, bool at_start, SpecialTokens special,
                         std::vector<int32_t>& ids) const {
    std::string normalized(raw);
    if (parts_.normalizer != nullptr) {
      LFM2_ASSIGN_OR_RETURN(normalized, parts_.normalizer->Normalize(std::move(normalized)));
    }
    for (const AddedTokens::Segment& segment : parts_.added.SplitNormalized(normalized, special)) {
      if (segment.id) {
        ids.push_back(*segment.id);
        continue;
      }
      const bool first = at_start && segment.text.data() == normalized.data();
      LFM2_RETURN_IF_ERROR(EncodePieces(segment.text, first, special, ids));
    }
    return absl::OkStatus();
  }

  absl::Status EncodePieces(std::string_view text, bool at_start, SpecialTokens special,
                            std::vector<int32_t>& ids) const {
    std::vector<Piece> pieces = {{std::string(text), at_start}};
    if (parts_.pre_tokenizer != nullptr) {
      LFM2_ASSIGN_OR_RETURN(pieces, parts_.pre_tokenizer->Split(std::move(pieces)));
    }
    BpeScratch scratch;
    const auto* never = special == SpecialTokens::kKeepAsText ? &special_ids_ : nullptr;
    for (const Piece& piece : pieces)
      LFM2_RETURN_IF_ERROR(parts_.model.Encode(piece.text, never, scratch, ids));
    return absl::OkStatus();
  }

  Parts parts_;
  std::unordered_set<int32_t> special_ids_;
};

absl::Status CheckVersion(const JsonFields& fields) {
  LFM2_ASSIGN_OR_RETURN(const std::string version, fields.String("version", "1.0"));
  if (version != "1.0")
    return TokenizerError("tokenizer.json", "version \"" + Shortened(version) + "\" is not 1.0");
  return fields.OnlyKeys({"version", "truncation", "padding", "added_tokens", "normalizer",
                          "pre_tokenizer", "post_processor", "decoder", "model"});
}

// The reference ignores the file's ids of added tokens: an entry of the model's vocabulary keeps
// its id, a new one gets the next. A file with other ids would give different ids there, so it is
// refused.
absl::Status AddToVocabulary(const AddedTokens& added, Vocabulary& vocabulary) {
  auto next = static_cast<int32_t>(vocabulary.size());
  for (const AddedToken& token : added.tokens()) {
    const int32_t expected = vocabulary.Find(token.content).value_or(next);
    if (token.id != expected) {
      return TokenizerError("added_tokens",
                            absl::StrCat("\"", Shortened(token.content), "\" has id ", token.id,
                                         ", its position in the vocabulary is ", expected));
    }
    LFM2_RETURN_IF_ERROR(vocabulary.Add(token.content, token.id));
    next = std::max(next, token.id + 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<Parts> ReadParts(const JsonFields& fields) {
  LFM2_ASSIGN_OR_RETURN(const Json* model_json, fields.RequiredObject("model"));
  LFM2_ASSIGN_OR_RETURN(BpeModel model, BpeModel::FromJson(*model_json));
  LFM2_ASSIGN_OR_RETURN(auto normalizer, NormalizerFromJson(fields.Find("normalizer")));
  LFM2_ASSIGN_OR_RETURN(auto pre_tokenizer, PreTokenizerFromJson(fields.Find("pre_tokenizer")));
  LFM2_ASSIGN_OR_RETURN(AddedTokens added,
                        AddedTokens::FromJson(fields.Find("added_tokens"), normalizer.get()));
  LFM2_ASSIGN_OR_RETURN(PostProcessor post_processor,
                        PostProcessor::FromJson(fields.Find("post_processor")));
  LFM2_ASSIGN_OR_RETURN(TokenDecoder decoder, TokenDecoder::FromJson(fields.Find("decoder")));
  LFM2_RETURN_IF_ERROR(AddToVocabulary(added, model.vocabulary()));
  return Parts{std::move(model), std::move(normalizer),     std::move(pre_tokenizer),
               std::move(added), std::move(post_processor), std::move(decoder)};
}

absl::Status CheckPostProcessor(const Parts& parts) {
  for (const std::vector<int32_t>* ids :
       {&parts.post_processor.before, &parts.post_processor.after}) {
    for (int32_t id : *ids) {
      if (parts.model.vocabulary().TokenOf(id) == nullptr) {
        return TokenizerError("post_processor",
                              absl::StrCat("id ", id, " is not in the vocabulary"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(std::string_view json_text,
                                                                  const TokenizerConfig& config) {
  const absl::StatusOr<Json> json = ParseJson(json_text);
  if (!json.ok()) return TokenizerError("tokenizer.json", std::string(json.status().message()));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(*json, "tokenizer.json"));
  LFM2_RETURN_IF_ERROR(CheckVersion(fields));
  LFM2_ASSIGN_OR_RETURN(Parts parts, ReadParts(fields));
  LFM2_RETURN_IF_ERROR(CheckPostProcessor(parts));
  auto tokenizer =
      std::make_shared<BpeTokenizer>(std::move(parts), Sha256Hex(json_text), config.chat_template);
  LFM2_RETURN_IF_ERROR(tokenizer->TakeConfig(config));
  return tokenizer;
}

}  // namespace lfm2
