#include "model/tokenizer/chat/python_literal.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <unordered_set>
#include <utility>

#include "absl/strings/numbers.h"
#include "base/utf8.h"

namespace lfm2 {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsHighSurrogate(char32_t c) { return c >= 0xD800 && c < 0xDC00; }
bool IsLowSurrogate(char32_t c) { return c >= 0xDC00 && c < 0xE000; }

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  out += '"';
}

bool PythonReader::Fail(const char* why) {
  if (*why_ == '\0') why_ = why;
  return false;
}

void PythonReader::SkipSpace() {
  while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
}

bool PythonReader::Take(char c) {
  SkipSpace();
  if (Peek() != c || at_ >= text_.size()) return false;
  ++at_;
  return true;
}

bool PythonReader::AtEnd() {
  SkipSpace();
  return at_ == text_.size();
}

std::string_view PythonReader::TakeName(Name kind) {
  SkipSpace();
  const size_t begin = at_;
  if (!IsNameStart(Peek())) return {};
  while (at_ < text_.size()) {
    const bool joins = kind == Name::kDotted && (text_[at_] == '.' || text_[at_] == '-') &&
                       at_ + 1 < text_.size() && IsNamePart(text_[at_ + 1]);
    if (!IsNamePart(text_[at_]) && !joins) break;
    ++at_;
  }
  return text_.substr(begin, at_ - begin);
}

bool PythonReader::ValueAt(int64_t depth, std::string& out) {
  if (depth > max_depth_) return Fail("values are nested too deep");
  SkipSpace();
  const char c = Peek();
  if (c == '"' || c == '\'') {
    std::string text;
    if (!String(text)) return false;
    AppendJsonString(text, out);
    return true;
  }
  if (c == '[' || c == '(') {
    ++at_;
    return Sequence(c == '[' ? ']' : ')', depth, out);
  }
  if (c == '{') {
    ++at_;
    return Dict(depth, out);
  }
  if (IsDigit(c) || c == '-' || c == '+' || c == '.') return Number(out);
  return Word(out);
}

bool PythonReader::Sequence(char closer, int64_t depth, std::string& out) {
  out += '[';
  for (bool first = true; !Take(closer); first = false) {
    if (!first) {
      if (!Take(',')) return Fail("a comma or the list's end is expected");
      if (Take(closer)) break;
      out += ',';
    }
    if (!ValueAt(depth + 1, out)) return false;
  }
  out += ']';
  return true;
}

bool PythonReader::Dict(int64_t depth, std::string& out) {
  out += '{';
  std::unordered_set<std::string> keys;
  for (bool first = true; !Take('}'); first = false) {
    if (!first) {
      if (!Take(',')) return Fail("a comma or the dict's end is expected");
      if (Take('}')) break;
      out += ',';
    }
    std::string key;
    if (!Key(key)) return false;
    AppendJsonString(key, out);
    if (!keys.insert(std::move(key)).second) return Fail("a key is given twice");
    if (!Take(':')) return Fail("a colon is expected");
    out += ':';
    if (!ValueAt(depth + 1, out)) return false;
  }
  out += '}';
  return true;
}

// Keys as Python's json module writes them: numbers become strings.
bool PythonReader::Key(std::string& key) {
  SkipSpace();
  if (Peek() == '"' || Peek() == '\'') {
    return String(key);
  }
  if (IsDigit(Peek()) || Peek() == '-') return Number(key);
  return Fail("a key is expected");
}

bool PythonReader::Word(std::string& out) {
  const size_t begin = at_;
  const std::string_view word = TakeName(Name::kPlain);
  if (word == "True" || word == "true") {
    out += "true";
  } else if (word == "False" || word == "false") {
    out += "false";
  } else if (word == "None" || word == "null") {
    out += "null";
  } else {
    at_ = begin;
    return Fail("a value is expected");
  }
  return true;
}

// Digits with single underscores between them.
bool PythonReader::Digits(std::string& out) {
  if (!IsDigit(Peek())) return false;
  while (IsDigit(Peek()) || (Peek() == '_' && at_ + 1 < text_.size() && IsDigit(text_[at_ + 1]) &&
                             IsDigit(text_[at_ - 1]))) {
    if (Peek() != '_') out += Peek();
    ++at_;
  }
  return true;
}

bool PythonReader::Hexadecimal(bool negative, std::string& out) {
  at_ += 2;
  uint64_t value = 0;
  const size_t begin = at_;
  while (HexValue(Peek()) >= 0 && at_ - begin < 16)
    value = value * 16 + static_cast<uint64_t>(HexValue(text_[at_++]));
  if (at_ == begin || IsNamePart(Peek()))
    return Fail("a hexadecimal number of at most 16 digits is expected");
  if (negative) out += '-';
  out += std::to_string(value);
  return true;
}

bool PythonReader::Number(std::string& out) {
  const bool negative = Peek() == '-';
  if (negative || Peek() == '+') ++at_;
  if (Peek() == '0' && at_ + 1 < text_.size() && (text_[at_ + 1] == 'x' || text_[at_ + 1] == 'X'))
    return Hexadecimal(negative, out);
  std::string whole, fraction, exponent;
  const bool has_whole = Digits(whole);
  const bool has_point = Peek() == '.';
  if (has_point) {
    ++at_;
    Digits(fraction);
  }
  if (!has_whole && fraction.empty()) return Fail("a number is expected");
  if (Peek() == 'e' || Peek() == 'E') {
    ++at_;
    exponent = "e";
    if (Peek() == '-' || Peek() == '+') exponent += text_[at_++];
    if (!Digits(exponent)) return Fail("an exponent is expected");
  }
  if (IsNamePart(Peek()) || Peek() == '.') return Fail("a number ends where it should not");
  if (whole.empty()) whole = "0";
  const size_t nonzero = whole.find_first_not_of('0');
  if (nonzero == std::string::npos) {
    whole = "0";
  } else if (nonzero > 0) {
    if (!has_point && exponent.empty()) return Fail("a number begins with 0");
    whole.erase(0, nonzero);
  }
  std::string number = negative ? "-" : "";
  number += whole;
  if (has_point) number += '.' + (fraction.empty() ? std::string("0") : fraction);
  number += exponent;
  // Python accepts these as infinity or with all digits, but JSON readers do not.
  double value = 0;
  if (!absl::SimpleAtod(number, &value) || !std::isfinite(value)) {
    return Fail("a number is larger than 1.8e308");
  }
  out += number;
  return true;
}

bool PythonReader::String(std::string& out) {
  SkipSpace();
  const char quote = Peek();
  if (quote != '"' && quote != '\'') return Fail("a string is expected");
  const std::string triple(3, quote);
  const bool is_triple = text_.substr(at_, 3) == triple;
  at_ += is_triple ? 3 : 1;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == quote && (!is_triple || text_.substr(at_, 3) == triple)) {
      at_ += is_triple ? 3 : 1;
      return true;
    }
    ++at_;
    if (c != '\\') {
      out += c;
    } else if (!Escape(out)) {
      return false;
    }
  }
  return Fail("the string has no end");
}

bool PythonReader::CodePoint(int digits, char32_t& out) {
  out = 0;
  for (int i = 0; i < digits; ++i) {
    const int value = HexValue(Peek());
    if (value < 0) return Fail("an escape lacks digits");
    out = out * 16 + static_cast<char32_t>(value);
    ++at_;
  }
  return true;
}

// Reads what follows the backslash. An escape that Python does not know is kept as written.
bool PythonReader::Escape(std::string& out) {
  if (at_ >= text_.size()) return Fail("the string has no end");
  const char c = text_[at_++];
  constexpr std::string_view kNames = "abfnrtv\\'\"";
  constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
  if (const size_t known = kNames.find(c); known != std::string_view::npos) {
    out += kValues[known];
    return true;
  }
  if (c == '\n') return true;
  char32_t code = 0;
  if (c >= '0' && c <= '7') {
    code = static_cast<char32_t>(c - '0');
    for (int i = 0; i < 2 && Peek() >= '0' && Peek() <= '7'; ++i)
      code = code * 8 + static_cast<char32_t>(text_[at_++] - '0');
  } else if (c == 'x' || c == 'u' || c == 'U') {
    if (!CodePoint(c == 'x' ? 2 : c == 'u' ? 4 : 8, code)) return false;
    if (IsHighSurrogate(code) && text_.substr(at_, 2) == "\\u") {
      char32_t low = 0;
      at_ += 2;
      if (!CodePoint(4, low)) return false;
      if (!IsLowSurrogate(low)) return Fail("an escape has only half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
  } else {
    out += '\\';
    out += c;
    return true;
  }
  if (code > 0x10FFFF || IsHighSurrogate(code) || IsLowSurrogate(code))
    return Fail("an escape is not a valid character");
  AppendUtf8(code, out);
  return true;
}

}  // namespace lfm2
