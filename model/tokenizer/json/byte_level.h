// GPT-2's alphabet: every byte as a printable character, so that a vocabulary of strings can hold
// any bytes. Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
// its published encoder. Thread rule: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lfm2 {

void AppendByteLevel(std::string_view bytes, std::string& out);

// The byte that a character of the alphabet represents.
std::optional<char> ByteOfCharacter(char32_t code_point);

// The bytes of a token. For a token with a character outside the alphabet: its UTF-8, as in the
// reference.
std::string BytesOfToken(std::string_view token);

}  // namespace lfm2
