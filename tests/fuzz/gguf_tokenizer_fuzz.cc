// A GGUF's tokenizer: what is accepted becomes files that are read back, and a tokenizer whose ids
// are its own.
#include <cstdint>
#include <cstdlib>

#include "model/formats/gguf.h"
#include "model/tokenizer/json/bpe_tokenizer.h"
#include "model/tokenizer/json/gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = lfm2::ParseGguf("f.gguf", {reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  const auto files = lfm2::TokenizerFilesFromGguf(*file);
  if (!files.ok()) return 0;
  const auto config = lfm2::TokenizerConfig::Parse(files->tokenizer_config_json);
  if (!config.ok()) std::abort();
  const auto tokenizer = lfm2::MakeBpeTokenizer(files->tokenizer_json, *config);
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode("It's 12 naive texts.\n", {});
  if (!ids.ok()) return 0;
  for (const int32_t id : *ids) {
    if (id < 0 || id >= (*tokenizer)->vocab_size()) std::abort();
  }
  if (!(*tokenizer)->Decode(*ids, false).ok()) std::abort();
  return 0;
}
