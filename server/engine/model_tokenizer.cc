#include "server/engine/model_tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/tokenizer/bytes.h"
#include "model/tokenizer/load_tokenizer.h"

namespace lfm2 {
namespace {

constexpr int32_t kBytes = 256;

// The byte tokenizer without its three special tokens, for models whose vocabulary is the 256
// bytes.
class PlainByteTokenizer : public Tokenizer {
 public:
  explicit PlainByteTokenizer(std::shared_ptr<const Tokenizer> bytes) : bytes_(std::move(bytes)) {
    vocab_size_ = kBytes;
    kind_ = bytes_->kind();
    sha256_ = Sha256Hex("lfm2 bytes 256");
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions&) const override {
    return bytes_->Encode(text, {.add_special = false, .parse_special = false});
  }
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids,
                                     bool skip_special) const override {
    for (int32_t id : ids) {
      if (id >= kBytes) {
        return Error(Reason::kInvalidArgument,
                     "token id " + std::to_string(id) + " is not below the vocabulary size 256");
      }
    }
    return bytes_->Decode(ids, skip_special);
  }
  std::string TokenBytes(int32_t id, bool skip_special, bool first) const override {
    return id < kBytes ? bytes_->TokenBytes(id, skip_special, first) : "";
  }
  std::optional<int32_t> TokenId(std::string_view token) const override {
    const std::optional<int32_t> id = bytes_->TokenId(token);
    return id.has_value() && *id < kBytes ? id : std::nullopt;
  }
  bool IsSpecial(int32_t) const override { return false; }

 private:
  const std::shared_ptr<const Tokenizer> bytes_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerForModel(
    const std::filesystem::path& directory, int64_t vocab_size) {
  if (directory.empty()) {
    std::shared_ptr<const Tokenizer> bytes = MakeByteTokenizer();
    if (vocab_size >= bytes->vocab_size()) return bytes;
    if (vocab_size == kBytes) return std::make_shared<const PlainByteTokenizer>(std::move(bytes));
    return Error(Reason::kFileNotFound,
                 "the model's folder has no tokenizer, and its vocabulary of " +
                     std::to_string(vocab_size) + " is too small for bytes");
  }
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer, LoadTokenizer(directory));
  if (tokenizer->vocab_size() > vocab_size) {
    return Error(Reason::kTokenizerMismatch,
                 "the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                     " tokens, but the model's vocabulary has " + std::to_string(vocab_size),
                 {{"tokenizer_vocab_size", std::to_string(tokenizer->vocab_size())},
                  {"model_vocab_size", std::to_string(vocab_size)}});
  }
  return tokenizer;
}

}  // namespace lfm2
