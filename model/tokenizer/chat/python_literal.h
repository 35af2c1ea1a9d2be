// Parses Python literals and writes them as JSON. Nothing is evaluated.
// Thread rule: one thread. Ownership: borrows the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lfm2 {

class PythonReader {
 public:
  // `text` is valid UTF-8.
  PythonReader(std::string_view text, int64_t max_depth) : text_(text), max_depth_(max_depth) {}

  // Each appends JSON to `out`. False on an error: why() then says what was expected at position().
  bool Value(std::string& out) { return ValueAt(0, out); }
  // The text of a string literal, after escapes.
  bool String(std::string& out);

  void SkipSpace();
  bool Take(char c);  // after white space; false, and takes nothing, if the next is another one
  bool AtEnd();       // after white space
  // A name; it may contain dots and dashes if `dotted`. Empty if no name follows.
  enum class Name { kPlain, kDotted };
  std::string_view TakeName(Name kind);

  bool Fail(const char* why);  // always false
  size_t position() const { return at_; }
  const char* why() const { return why_; }

 private:
  bool ValueAt(int64_t depth, std::string& out);
  bool Sequence(char closer, int64_t depth, std::string& out);
  bool Dict(int64_t depth, std::string& out);
  bool Key(std::string& key);
  bool Number(std::string& out);
  bool Hexadecimal(bool negative, std::string& out);
  bool Digits(std::string& out);
  bool Word(std::string& out);
  bool Escape(std::string& out);
  bool CodePoint(int digits, char32_t& out);
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string_view text_;
  int64_t max_depth_;
  size_t at_ = 0;
  const char* why_ = "";
};

// `text`, valid UTF-8, as a JSON string with its quotes.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace lfm2
