// Any text: valid UTF-8 comes back whole and without special tokens, anything else is refused.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/tiny_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer = lfm2::MakeTinyTokenizer();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ids = tokenizer->Encode(text, {.add_special = false, .parse_special = false});
  if (ids.ok() != lfm2::CheckUtf8(text).ok()) std::abort();
  if (!ids.ok()) return 0;
  for (int32_t id : *ids) {
    if (tokenizer->IsSpecial(id)) std::abort();
  }
  if (*tokenizer->Decode(*ids, true) != text) std::abort();
  const auto parsed = tokenizer->Encode(text, {.add_special = false, .parse_special = true});
  if (!parsed.ok() || *tokenizer->Decode(*parsed, false) != text) std::abort();
  return 0;
}
