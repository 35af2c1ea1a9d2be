#include "base/utf8.h"

#include "absl/strings/str_cat.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

struct Lead {
  size_t length;          // 0: no character starts with this byte
  uint8_t second_lowest;  // bounds of the second byte; they exclude overlong forms, surrogates
                          // and code points above U+10FFFF
  uint8_t second_highest;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) {
    const uint8_t lowest = byte == 0xE0 ? 0xA0 : 0x80;
    const uint8_t highest = byte == 0xED ? 0x9F : 0xBF;
    return {3, lowest, highest};
  }
  if (byte > 0xF4) return {0, 0, 0};
  const uint8_t lowest = byte == 0xF0 ? 0x90 : 0x80;
  const uint8_t highest = byte == 0xF4 ? 0x8F : 0xBF;
  return {4, lowest, highest};
}

}  // namespace

Utf8Step NextUtf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const Lead lead = LeadOf(first);
  if (lead.length == 1) return {Utf8Kind::kValid, first, 1};
  if (lead.length == 0) return {Utf8Kind::kInvalid, 0, 1};
  char32_t code_point = first & (0x7Fu >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, 0, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t lowest = i == 1 ? lead.second_lowest : 0x80;
    const uint8_t highest = i == 1 ? lead.second_highest : 0xBF;
    if (byte < lowest || byte > highest) return {Utf8Kind::kInvalid, 0, i};
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {Utf8Kind::kValid, code_point, lead.length};
}

void AppendUtf8(char32_t code_point, std::string& out) {
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | (code_point >> 6));
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | (code_point >> 12));
    out += static_cast<char>(0x80 | ((code_point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code_point >> 18));
    out += static_cast<char>(0x80 | ((code_point >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code_point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  }
}

absl::Status CheckUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = NextUtf8(text.substr(at));
    if (step.kind != Utf8Kind::kValid) {
      return Error(Reason::kInvalidUtf8, absl::StrCat("text is not valid UTF-8 at byte ", at),
                   {{"offset", std::to_string(at)}});
    }
    at += step.bytes;
  }
  return absl::OkStatus();
}

size_t AppendReplacingInvalid(std::string_view bytes, Utf8Replacement replacement, Utf8End end,
                              std::string& out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = NextUtf8(bytes.substr(at));
    if (step.kind == Utf8Kind::kIncomplete && end == Utf8End::kMayContinue) break;
    if (step.kind == Utf8Kind::kValid) {
      out.append(bytes.substr(at, step.bytes));
    } else {
      const size_t count = replacement == Utf8Replacement::kEachByte ? step.bytes : 1;
      for (size_t i = 0; i < count; ++i) out.append(kReplacementCharacter);
    }
    at += step.bytes;
  }
  return at;
}

}  // namespace lfm2
