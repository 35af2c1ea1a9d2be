#include "model/tokenizer/spm/sentencepiece.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/tokenizer/json/added_tokens.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/spm/spm_library.h"
#include "model/tokenizer/spm/spm_proto.h"

namespace lfm2 {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁"
constexpr char kWhere[] = "sentencepiece model";

class SentencepieceTokenizer : public Tokenizer {
 public:
  SentencepieceTokenizer(const SpmLibrary& library, lfm2_spm* model, SpmSpec spec)
      : library_(library), model_(model), spec_(spec) {
    kind_ = "sentencepiece";
  }
  ~SentencepieceTokenizer() override { library_.free(model_); }

  absl::Status Init(std::string sha256, const TokenizerConfig& config) {
    sha256_ = std::move(sha256);
    chat_template_ = config.chat_template;
    vocab_size_ = library_.size(model_);
    if (vocab_size_ <= 0 || vocab_size_ > kDefaultLimits.vocab_size) {
      return TokenizerError(
          kWhere, absl::StrCat("has ", vocab_size_, " pieces, limit ", kDefaultLimits.vocab_size));
    }
    LFM2_RETURN_IF_ERROR(ReadPieces());
    LFM2_ASSIGN_OR_RETURN(bos_, IdOf("bos_token", config.bos_token, library_.bos(model_)));
    LFM2_ASSIGN_OR_RETURN(eos_, IdOf("eos_token", config.eos_token, library_.eos(model_)));
    LFM2_ASSIGN_OR_RETURN(pad_, IdOf("pad_token", config.pad_token, library_.pad(model_)));
    add_bos_ = config.add_bos_token.value_or(true) && bos_.has_value();
    add_eos_ = config.add_eos_token.value_or(false) && eos_.has_value();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    LFM2_RETURN_IF_ERROR(CheckUtf8(text));
    std::vector<int32_t> ids;
    if (options.add_special && add_bos_) ids.push_back(*bos_);
    size_t done = 0;
    for (size_t at = 0; options.parse_special && at < text.size();) {
      const auto control = controls_.LongestAt(text.substr(at));
      if (!control) {
        ++at;
        continue;
      }
      LFM2_RETURN_IF_ERROR(EncodeText(text.substr(done, at - done), ids));
      ids.push_back(control->value);
      at += control->bytes;
      done = at;
    }
    LFM2_RETURN_IF_ERROR(EncodeText(text.substr(done), ids));
    if (options.add_special && add_eos_) ids.push_back(*eos_);
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
      const std::string piece = TokenBytes(id, skip_special, first);
      first = first && StaysFirst(id, skip_special, piece);
      bytes += piece;
    }
    std::string text;
    AppendReplacingInvalid(bytes, replacement(), Utf8End::kFinal, text);
    return text;
  }

  std::string TokenBytes(int32_t id, bool skip_special, bool first) const override {
    if (AddsNothing(id, skip_special)) return "";
    const Piece& piece = pieces_[static_cast<size_t>(id)];
    if (piece.kind == LFM2_SPM_CONTROL) return piece.text;
    if (piece.kind == LFM2_SPM_UNKNOWN) return unknown_surface_;
    if (piece.kind == LFM2_SPM_BYTE)
      return std::string(1, static_cast<char>(std::stoi(piece.text.substr(3, 2), nullptr, 16)));
    std::string_view rest = piece.text;
    const bool strips = first && (spec_.add_dummy_prefix || spec_.remove_extra_whitespaces);
    if (strips && rest.starts_with(kSpaceMark)) rest.remove_prefix(kSpaceMark.size());
    std::string out;
    while (!rest.empty()) {
      const bool is_space = rest.starts_with(kSpaceMark);
      out += is_space ? ' ' : rest[0];
      rest.remove_prefix(is_space ? kSpaceMark.size() : 1);
    }
    return out;
  }

  bool StaysFirst(int32_t id, bool skip_special, std::string_view bytes) const override {
    return AddsNothing(id, skip_special) || IsSpecial(id) ||
           (bytes.empty() && spec_.remove_extra_whitespaces);
  }

  std::optional<int32_t> TokenId(std::string_view token) const override {
    const auto it = ids_.find(token);
    if (it == ids_.end()) return std::nullopt;
    return it->second;
  }
  bool IsSpecial(int32_t id) const override {
    return id >= 0 && id < vocab_size_ && pieces_[static_cast<size_t>(id)].kind == LFM2_SPM_CONTROL;
  }
  Utf8Replacement replacement() const override { return Utf8Replacement::kEachByte; }

 private:
  struct Piece {
    std::string text;
    int kind;
  };

  absl::Status ReadPieces() {
    pieces_.reserve(static_cast<size_t>(vocab_size_));
    for (int32_t id = 0; id < vocab_size_; ++id) {
      size_t size = 0;
      const char* data = library_.piece(model_, id, &size);
      pieces_.push_back({std::string(data, size), library_.kind_of(model_, id)});
      const Piece& piece = pieces_.back();
      if (piece.text.empty())
        return TokenizerError(kWhere, absl::StrCat("piece ", id, " is empty"));
      if (piece.kind == LFM2_SPM_CONTROL) controls_.Add(piece.text, id);
      if (piece.kind == LFM2_SPM_BYTE && !IsByteName(piece.text)) {
        return TokenizerError(kWhere, absl::StrCat("byte piece ", id, " is not named <0xNN>"));
      }
      if (piece.kind == LFM2_SPM_UNKNOWN) {
        LFM2_ASSIGN_OR_RETURN(unknown_surface_, SurfaceOf(id));
      }
    }
    for (int32_t id = 0; id < vocab_size_; ++id)
      ids_.emplace(pieces_[static_cast<size_t>(id)].text, id);
    return absl::OkStatus();
  }

  static bool IsByteName(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEFabcdef";
    return text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
           kHex.find(text[3]) != std::string_view::npos &&
           kHex.find(text[4]) != std::string_view::npos;
  }

  absl::StatusOr<std::string> SurfaceOf(int32_t id) const {
    char* text = nullptr;
    size_t size = 0;
    lfm2_spm_error error{};
    if (library_.decode(model_, &id, 1, &text, &size, &error) != 0)
      return TokenizerError(kWhere, error.text);
    std::string surface(text, size);
    library_.free_text(text);
    return surface;
  }

  absl::StatusOr<std::optional<int32_t>> IdOf(std::string_view key,
                                              const std::optional<std::string>& token,
                                              int32_t model_id) const {
    if (!token)
      return model_id >= 0 && model_id < vocab_size_ ? std::optional<int32_t>(model_id)
                                                     : std::nullopt;
    const std::optional<int32_t> id = TokenId(*token);
    if (!id) {
      return TokenizerError("tokenizer_config.json", std::string(key) + " \"" + Shortened(*token) +
                                                         "\" is not in the vocabulary");
    }
    return id;
  }

  absl::Status EncodeText(std::string_view text, std::vector<int32_t>& ids) const {
    if (text.empty()) return absl::OkStatus();
    int32_t* encoded = nullptr;
    size_t count = 0;
    lfm2_spm_error error{};
    if (library_.encode(model_, text.data(), text.size(), &encoded, &count, &error) != 0) {
      return Error(Reason::kInvalidArgument, std::string("sentencepiece: ") + error.text);
    }
    ids.insert(ids.end(), encoded, encoded + count);
    library_.free_ids(encoded);
    return absl::OkStatus();
  }

  const SpmLibrary& library_;
  lfm2_spm* model_;
  SpmSpec spec_;
  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys into pieces_
  TokenTrie controls_;
  std::string unknown_surface_;
  bool add_bos_ = false;
  bool add_eos_ = false;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencepieceTokenizer(
    std::string_view model_bytes, const TokenizerConfig& config) {
  LFM2_ASSIGN_OR_RETURN(const SpmSpec spec, SpmSpec::Read(model_bytes));
  LFM2_ASSIGN_OR_RETURN(const SpmLibrary* library, SpmLibrary::Open());
  lfm2_spm* model = nullptr;
  lfm2_spm_error error{};
  if (library->create(model_bytes.data(), model_bytes.size(), &model, &error) != 0) {
    return TokenizerError(kWhere, error.text);
  }
  auto tokenizer = std::make_shared<SentencepieceTokenizer>(*library, model, spec);
  LFM2_RETURN_IF_ERROR(tokenizer->Init(Sha256Hex(model_bytes), config));
  return tokenizer;
}

}  // namespace lfm2
