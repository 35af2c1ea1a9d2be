// Any ids: the pieces are valid UTF-8 and together what Decode gives.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "model/tokenizer/bytes.h"
#include "model/tokenizer/stream_decoder.h"
#include "tests/fuzz/tiny_tokenizer.h"

namespace {

void Check(const lfm2::Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  lfm2::StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  const auto take = [&text](const std::string& piece) {
    if (!lfm2::CheckUtf8(piece).ok()) std::abort();
    text += piece;
  };
  for (int32_t id : ids) take(decoder.Push(id));
  take(decoder.Flush());
  if (*tokenizer.Decode(ids, skip_special) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto bpe = lfm2::MakeTinyTokenizer();
  static const auto bytes = lfm2::MakeByteTokenizer();
  std::vector<int32_t> ids;
  for (size_t i = 0; i + 1 < size; i += 2)
    ids.push_back((data[i] << 8 | data[i + 1]) % bytes->vocab_size());
  for (const bool skip_special : {false, true}) {
    Check(*bpe, ids, skip_special);
    Check(*bytes, ids, skip_special);
  }
  return 0;
}
