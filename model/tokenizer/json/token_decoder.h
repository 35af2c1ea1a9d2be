// The "decoder" of tokenizer.json: the text that each token contributes.
//
// Only chains that can be streamed are supported: a token's bytes may depend only on the token and
// on whether it is the first. Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "base/utf8.h"

namespace lfm2 {

class TokenDecoder {
 public:
  // One step of the chain: converts token text to token text or, in the last steps, to bytes.
  class Step {
   public:
    virtual ~Step() = default;
    virtual std::string Apply(std::string token, bool first) const = 0;
  };

  // ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, Sequence. Without a decoder, tokens
  // are joined by spaces, as in the reference. kTokenizerInvalid for other types and for an order
  // that cannot be streamed.
  static absl::StatusOr<TokenDecoder> FromJson(const Json* json);

  std::string BytesOf(std::string_view token, bool first) const;

  // With ByteFallback, the reference replaces every byte of a run that is not all valid; here valid
  // characters in such a run are kept, so that a stream need not wait for the run's end.
  Utf8Replacement replacement() const { return replacement_; }

 private:
  // A token's text after the steps so far.
  enum class Form { kToken, kBytes, kWholeText };

  absl::Status AddSteps(const Json& json, int depth);
  absl::Status AddSequence(const Json& json, int depth);
  absl::Status AddStrip(const Json& json);

  std::vector<std::unique_ptr<const Step>> steps_;
  Form form_ = Form::kToken;
  Utf8Replacement replacement_ = Utf8Replacement::kMaximalSubpart;
};

}  // namespace lfm2
