#include "model/tokenizer/stream_decoder.h"

#include "base/utf8.h"

namespace lfm2 {

std::string StreamDecoder::Push(int32_t id) {
  const std::string bytes = tokenizer_->TokenBytes(id, skip_special_, first_);
  first_ = first_ && tokenizer_->StaysFirst(id, skip_special_, bytes);
  pending_ += bytes;
  std::string text;
  pending_.erase(
      0, AppendReplacingInvalid(pending_, tokenizer_->replacement(), Utf8End::kMayContinue, text));
  return text;
}

std::string StreamDecoder::Flush() {
  std::string text;
  AppendReplacingInvalid(pending_, tokenizer_->replacement(), Utf8End::kFinal, text);
  pending_.clear();
  return text;
}

}  // namespace lfm2
