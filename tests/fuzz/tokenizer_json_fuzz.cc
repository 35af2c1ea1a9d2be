// tokenizer.json: whatever is accepted encodes and decodes without harm, and its own ids decode.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/tokenizer/json/bpe_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  lfm2::TokenizerConfig::Parse(text).IgnoreError();
  const auto tokenizer = lfm2::MakeBpeTokenizer(text, {});
  if (!tokenizer.ok()) return 0;
  for (const char* sample :
       {"", "hello  World 123\n\n", "<|im_start|>x<s>", "\xE6\x97\xA5\xE6\x9C\xAC e\xCC\x81"}) {
    for (const bool parse_special : {false, true}) {
      const auto ids =
          (*tokenizer)
              ->Encode(sample, {.add_special = parse_special, .parse_special = parse_special});
      if (ids.ok() && !(*tokenizer)->Decode(*ids, false).ok()) std::abort();
    }
  }
  return 0;
}
