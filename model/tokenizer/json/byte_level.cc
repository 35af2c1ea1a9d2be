#include "model/tokenizer/json/byte_level.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace lfm2 {
namespace {

constexpr char32_t kAlphabetEnd = 0x144;  // one past the highest character

constexpr bool IsPrintable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, kAlphabetEnd> byte{};
};

// Printable Latin-1 characters represent themselves; the other bytes get U+0100 onwards, in order.
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = -1;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t character = IsPrintable(byte) ? static_cast<char32_t>(byte) : next++;
    alphabet.character[static_cast<size_t>(byte)] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

void AppendByteLevel(std::string_view bytes, std::string& out) {
  out.reserve(out.size() + 2 * bytes.size());
  for (char c : bytes) AppendUtf8(kAlphabet.character[static_cast<uint8_t>(c)], out);
}

std::optional<char> ByteOfCharacter(char32_t code_point) {
  if (code_point >= kAlphabetEnd || kAlphabet.byte[code_point] < 0) return std::nullopt;
  return static_cast<char>(kAlphabet.byte[code_point]);
}

std::string BytesOfToken(std::string_view token) {
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const Utf8Step step = NextUtf8(token.substr(at));
    const std::optional<char> byte =
        step.kind == Utf8Kind::kValid ? ByteOfCharacter(step.code_point) : std::nullopt;
    if (!byte) return std::string(token);
    bytes += *byte;
    at += step.bytes;
  }
  return bytes;
}

}  // namespace lfm2
