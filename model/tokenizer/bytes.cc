#include "model/tokenizer/bytes.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/file.h"

namespace lfm2 {
namespace {

constexpr int32_t kPad = 256, kBos = 257, kEos = 258, kEnd = 259;
constexpr std::string_view kSpecialNames[] = {"<pad>", "<bos>", "<eos>"};

class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    vocab_size_ = kEnd;
    pad_ = kPad;
    bos_ = kBos;
    eos_ = kEos;
    kind_ = "bytes";
    sha256_ = Sha256Hex(kByteTokenizerDefinition);
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size() + 1);
    if (options.add_special) ids.push_back(kBos);
    while (!text.empty()) {
      const std::optional<int32_t> special = options.parse_special ? SpecialAt(text) : std::nullopt;
      ids.push_back(special.value_or(static_cast<uint8_t>(text[0])));
      text.remove_prefix(special ? NameOf(*special).size() : 1);
    }
    return ids;
  }

  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids,
                                     bool skip_special) const override {
    std::string bytes;
    for (int32_t id : ids) {
      if (id < 0 || id >= kEnd) {
        return Error(Reason::kInvalidArgument,
                     absl::StrCat("token id ", id, " is outside the vocabulary of ", kEnd));
      }
      bytes += TokenBytes(id, skip_special, false);
    }
    std::string text;
    AppendReplacingInvalid(bytes, replacement(), Utf8End::kFinal, text);
    return text;
  }

  std::string TokenBytes(int32_t id, bool skip_special, bool) const override {
    if (AddsNothing(id, skip_special)) return "";
    return IsSpecial(id) ? std::string(NameOf(id)) : std::string(1, static_cast<char>(id));
  }

  std::optional<int32_t> TokenId(std::string_view token) const override {
    if (token.size() == 1) return static_cast<uint8_t>(token[0]);
    const std::optional<int32_t> special = token.empty() ? std::nullopt : SpecialAt(token);
    return special && NameOf(*special) == token ? special : std::nullopt;
  }
  bool IsSpecial(int32_t id) const override { return id >= kPad && id < kEnd; }

 private:
  static std::string_view NameOf(int32_t special) { return kSpecialNames[special - kPad]; }
  static std::optional<int32_t> SpecialAt(std::string_view text) {
    for (int32_t id = kPad; id < kEnd; ++id) {
      if (text.starts_with(NameOf(id))) return id;
    }
    return std::nullopt;
  }
};

}  // namespace

std::shared_ptr<const Tokenizer> MakeByteTokenizer() { return std::make_shared<ByteTokenizer>(); }

}  // namespace lfm2
