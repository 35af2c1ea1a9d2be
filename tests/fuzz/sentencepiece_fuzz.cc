// sentencepiece models: whatever is accepted encodes and decodes without harm.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/tokenizer/spm/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tokenizer =
      lfm2::MakeSentencepieceTokenizer({reinterpret_cast<const char*>(data), size}, {});
  if (!tokenizer.ok()) return 0;
  for (const char* sample :
       {"", "the model reads  it 12\n", "<s>x</s><tool>", "\xE6\x97\xA5\xE6\x9C\xAC e\xCC\x81"}) {
    const auto ids = (*tokenizer)->Encode(sample, {.add_special = true, .parse_special = true});
    if (ids.ok() && !(*tokenizer)->Decode(*ids, false).ok()) std::abort();
  }
  return 0;
}
