// Converts text to token ids and back. Ids equal those of the Rust `tokenizers` for tokenizer.json,
// and those of sentencepiece for .model.
//
// Thread rule: const after load; every method may be called from many threads. Ownership:
// shared_ptr<const Tokenizer>.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/utf8.h"

namespace lfm2 {

struct EncodeOptions {
  bool add_special = true;  // BOS and the like, as the tokenizer's post-processor says
  // text such as "<|im_start|>" becomes the special token; off for a user's text
  bool parse_special = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;
  // Converts a whole sequence to text; invalid UTF-8 becomes U+FFFD as in the reference.
  // kInvalidArgument for an id out of range.
  virtual absl::StatusOr<std::string> Decode(std::span<const int32_t> ids,
                                             bool skip_special) const = 0;
  // The bytes of one token, which may be part of a character; empty if AddsNothing. Concatenated
  // over a sequence they equal Decode before it replaces invalid UTF-8. `first`: no earlier token
  // of the sequence adds anything; sentencepiece's leading space depends on it.
  virtual std::string TokenBytes(int32_t id, bool skip_special, bool first) const = 0;
  virtual std::optional<int32_t> TokenId(
      std::string_view token) const = 0;  // exact vocabulary entry
  virtual bool IsSpecial(int32_t id) const = 0;
  // Whether the id adds nothing to a text: it is special and skipped, or not in the vocabulary. The
  // next id is then still `first`.
  virtual bool AddsNothing(int32_t id, bool skip_special) const {
    return id < 0 || id >= vocab_size_ || (skip_special && IsSpecial(id));
  }
  // Whether the next id is still `first` after `id`, whose TokenBytes as the first were `bytes`.
  virtual bool StaysFirst(int32_t id, bool skip_special, std::string_view bytes) const {
    return bytes.empty() && AddsNothing(id, skip_special);
  }
  // How Decode replaces invalid UTF-8.
  virtual Utf8Replacement replacement() const { return Utf8Replacement::kMaximalSubpart; }

  int32_t vocab_size() const { return vocab_size_; }  // highest id + 1
  std::optional<int32_t> bos() const { return bos_; }
  std::optional<int32_t> eos() const { return eos_; }
  std::optional<int32_t> pad() const { return pad_; }
  const std::string& kind() const { return kind_; }  // "bpe", "sentencepiece", "bytes"
  const std::string& sha256() const {
    return sha256_;
  }  // of the tokenizer file (for bytes: of its definition)
  const std::string& chat_template() const { return chat_template_; }  // Jinja source, or empty

 protected:
  int32_t vocab_size_ = 0;
  std::optional<int32_t> bos_, eos_, pad_;
  std::string kind_, sha256_, chat_template_;
};

}  // namespace lfm2
