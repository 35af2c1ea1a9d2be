// The byte tokenizer. Thread rule: any thread.
#pragma once

#include <memory>
#include <string_view>

#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// The SHA-256 of this text identifies the tokenizer: a change of meaning must change the text.
inline constexpr std::string_view kByteTokenizerDefinition =
    "byte tokenizer 1: ids 0..255 are the bytes, 256 <pad>, 257 <bos>, 258 <eos>; a sequence "
    "starts with <bos>";

// Ids 0..255 are the bytes, then 256 pad, 257 bos, 258 eos.
std::shared_ptr<const Tokenizer> MakeByteTokenizer();

}  // namespace lfm2
