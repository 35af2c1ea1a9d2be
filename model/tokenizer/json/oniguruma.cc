#include "model/tokenizer/json/oniguruma.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "model/tokenizer/unicode/unicode_additions.h"

namespace lfm2 {
namespace {

// White_Space. PCRE2's own \s also has U+180E, which lost the property in Unicode 6.3.
constexpr std::string_view kSpaces =
    "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"
    "\\x{3000}";
constexpr std::string_view kNonSpaces =
    "\\x00-\\x08\\x0E-\\x1F\\x21-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{"
    "200B}-\\x{2027}"
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";
// Of the numbers that are not digits, Oniguruma accepts only those of Latin-1.
constexpr std::string_view kWordCharacters =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

struct LongName {
  std::string_view name;
  std::string_view pcre2;
};
constexpr LongName kLongNames[] = {
    {"letter", "L"},          {"mark", "M"},
    {"number", "N"},          {"punctuation", "P"},
    {"symbol", "S"},          {"separator", "Z"},
    {"other", "C"},           {"alphabetic", "Alphabetic"},
    {"alpha", "Alphabetic"},  {"digit", "Nd"},
    {"space", "White_Space"}, {"whitespace", "White_Space"},
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool IsAlphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < in_.size()) LFM2_RETURN_IF_ERROR(Item());
    if (!groups_.empty()) return Refused("a group that is not closed");
    return std::move(out_);
  }

 private:
  struct Group {
    size_t begin;   // in out_
    bool caseless;  // to restore after it
  };

  absl::Status Refused(std::string_view construct) const {
    return Error(
        Reason::kInvalidArgument,
        absl::StrCat("pattern at byte ", at_, ": ", std::string(construct), " is not supported"));
  }
  char Peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool LooksAt(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  // Appends one atom, which a quantifier may follow.
  void Atom(std::string_view pcre2, size_t consumed) {
    atom_begin_ = out_.size();
    out_ += pcre2;
    at_ += consumed;
  }

  absl::Status Item() {
    switch (Peek()) {
      case '\\':
        atom_begin_ = out_.size();
        return Escape(Place::kOutside);
      case '[':
        return Class();
      case '(':
        return Open();
      case ')':
        return Close();
      case '{':
        return Interval();
      case '*':
      case '+':
      case '?':
        return Quantifier();
      case '|':
        out_ += in_[at_++];
        atom_begin_.reset();
        return absl::OkStatus();
      case ']':
        Atom("\\]", 1);
        return absl::OkStatus();
      default:
        return Character();
    }
  }

  absl::Status Character() {
    size_t bytes = 1;
    while ((static_cast<unsigned char>(Peek(bytes)) & 0xC0) == 0x80) ++bytes;
    Atom(in_.substr(at_, bytes), bytes);
    return absl::OkStatus();
  }

  enum class Place { kOutside, kClass };

  void Set(std::string_view members, std::string_view open, Place place) {
    if (place == Place::kOutside) out_ += open;
    out_ += members;
    if (place == Place::kOutside) out_ += ']';
  }

  absl::Status Escape(Place place) {
    const char c = Peek(1);
    if (c == 'p' || c == 'P') return PropertyEscape(place);
    if (c == 'u' || c == 'x') return CodePoint();
    if (IsAlphanumeric(c)) return LetterEscape(c, place);
    if (c == '\0') return Refused("a backslash at the end");
    out_ += '\\';
    ++at_;
    do {
      out_ += in_[at_++];
    } while ((static_cast<unsigned char>(Peek()) & 0xC0) == 0x80);
    return absl::OkStatus();
  }

  absl::Status LetterEscape(char c, Place place) {
    switch (c) {
      case 's':
        Set(kSpaces, "[", place);
        break;
      case 'S':
        Set(place == Place::kClass ? kNonSpaces : kSpaces, "[^", place);
        break;
      case 'w':
        Set(WordCharacters(), "[", place);
        break;
      case 'W':
        if (place == Place::kClass) return Refused("\\W in a class");
        Set(WordCharacters(), "[^", place);
        break;
      case 'd':
      case 'D':
        Property("Nd", c == 'D', place);
        break;
      case 'v':
        out_ += "\\x0B";
        break;
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'e':
      case 'a':
        out_ += in_.substr(at_, 2);
        break;
      case 'A':
      case 'z':
      case 'Z':
        if (place == Place::kClass) return Refused(std::string("\\") + c + " in a class");
        out_ += in_.substr(at_, 2);
        break;
      default:
        return Refused(std::string("\\") + c);
    }
    at_ += 2;
    return absl::OkStatus();
  }

  absl::Status CodePoint() {
    const bool braced = Peek(1) == 'x' && Peek(2) == '{';
    const size_t digits_at = at_ + (braced ? 3 : 2);
    const size_t most = braced ? 8 : (Peek(1) == 'u' ? 4 : 2);
    size_t digits = 0;
    while (digits < most && digits_at + digits < in_.size() && IsHex(in_[digits_at + digits]))
      ++digits;
    const size_t end = digits_at + digits;
    const bool closed = !braced || (end < in_.size() && in_[end] == '}');
    if (digits == 0 || !closed || (Peek(1) == 'u' && digits != 4))
      return Refused("this form of a code point");
    out_ += "\\x{" + std::string(in_.substr(digits_at, digits)) + "}";
    at_ = end + (braced ? 1 : 0);
    return absl::OkStatus();
  }

  // \p{L}, \p{^L}, \P{Script}. PCRE2 reads a bare script name as Script_Extensions, Oniguruma as
  // Script.
  absl::Status PropertyEscape(Place place) {
    const bool outer = Peek(1) == 'P';
    const size_t close = in_.find('}', at_);
    if (Peek(2) != '{' || close == std::string_view::npos)
      return Refused("a property without braces");
    std::string name(in_.substr(at_ + 3, close - at_ - 3));
    const bool inner = !name.empty() && name[0] == '^';
    if (inner) name.erase(0, 1);
    if (name.empty() || !std::all_of(name.begin(), name.end(),
                                     [](char c) { return IsAlphanumeric(c) || c == '_'; })) {
      return Refused("property \"" + name + "\"");
    }
    if (caseless_ && (name == "Lu" || name == "Ll" || name == "Lt"))
      return Refused("\\p{" + name + "} without case");
    Property(name, outer != inner, place);
    at_ = close + 1;
    return absl::OkStatus();
  }

  // A complement inside a class uses PCRE2's own property, without the newer characters, because a
  // class cannot express it otherwise.
  void Property(const std::string& name, bool negated, Place place) {
    const std::string newer = name.size() <= 2 ? NewerOf(name) : std::string();
    const std::string in_braces = "{" + Pcre2Property(name) + "}";
    if (newer.empty() || (negated && place == Place::kClass)) {
      out_ += (negated ? "\\P" : "\\p") + in_braces;
    } else {
      Set("\\p" + in_braces + newer, negated ? "[^" : "[", place);
    }
  }

  // Members of a general category that PCRE2 does not know yet, written as the content of a class.
  static std::string NewerOf(std::string_view category) {
    std::string members;
    for (const CategoryRange& range : AddedSinceUnicode14()) {
      if (!std::string_view(range.category).starts_with(category)) continue;
      absl::StrAppendFormat(&members, "\\x{%X}", range.first);
      if (range.last != range.first) absl::StrAppendFormat(&members, "-\\x{%X}", range.last);
    }
    return members;
  }

  static std::string WordCharacters() {
    return std::string(kWordCharacters) + NewerOf("L") + NewerOf("M") + NewerOf("Nd");
  }

  static std::string Pcre2Property(const std::string& name) {
    if (name.size() <= 2) return name;
    std::string key;
    for (char c : name) {
      if (c != '_') key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    const auto* found = std::find_if(std::begin(kLongNames), std::end(kLongNames),
                                     [&](const LongName& entry) { return entry.name == key; });
    return found != std::end(kLongNames) ? std::string(found->pcre2) : "sc:" + name;
  }

  absl::Status Class() {
    Atom("[", 1);
    if (Peek() == '^') out_ += in_[at_++];
    if (Peek() == ']') return Refused("an empty class");
    while (at_ < in_.size() && Peek() != ']') {
      if (Peek() == '[') return Refused("a class in a class");
      if (LooksAt("&&")) return Refused("an intersection of classes");
      if (Peek() == '\\') {
        LFM2_RETURN_IF_ERROR(Escape(Place::kClass));
      } else {
        out_ += in_[at_++];
      }
    }
    if (at_ == in_.size()) return Refused("a class that is not closed");
    out_ += in_[at_++];
    return absl::OkStatus();
  }

  absl::Status Open() {
    if (LooksAt("(?i)")) {
      if (at_ != 0) return Refused("(?i) after the start");
      caseless_ = true;
      out_ += "(?i)";
      at_ += 4;
      return absl::OkStatus();
    }
    static constexpr std::string_view kOpenings[] = {"(?i:", "(?:",  "(?=", "(?!",
                                                     "(?<=", "(?<!", "(?>"};
    const auto* opening =
        std::find_if(std::begin(kOpenings), std::end(kOpenings),
                     [&](std::string_view candidate) { return LooksAt(candidate); });
    if (opening == std::end(kOpenings) && (Peek(1) == '?' || Peek(1) == '*')) {
      return Refused("group \"" + std::string(in_.substr(at_, 3)) + "\"");
    }
    groups_.push_back({out_.size(), caseless_});
    const std::string_view text = opening == std::end(kOpenings) ? std::string_view("(") : *opening;
    if (text == "(?i:") caseless_ = true;
    out_ += text == "(" ? "(?:" : text;
    at_ += text.size();
    atom_begin_.reset();
    return absl::OkStatus();
  }

  absl::Status Close() {
    if (groups_.empty()) return Refused("a ) without its (");
    out_ += in_[at_++];
    atom_begin_ = groups_.back().begin;
    caseless_ = groups_.back().caseless;
    groups_.pop_back();
    return absl::OkStatus();
  }

  absl::Status Quantifier() {
    if (!atom_begin_) return Refused("a quantifier without its atom");
    out_ += in_[at_++];
    if (Peek() == '?' || Peek() == '+') out_ += in_[at_++];
    return absl::OkStatus();
  }

  // {n}, {n,}, {n,m}, {,m}; any other brace is itself. In Ruby's syntax a + after it repeats it.
  absl::Status Interval() {
    size_t end = at_ + 1;
    while (end < in_.size() && (IsDigit(in_[end]) || in_[end] == ',')) ++end;
    const std::string_view body = in_.substr(at_ + 1, end - at_ - 1);
    const auto commas = std::count(body.begin(), body.end(), ',');
    if (end == in_.size() || in_[end] != '}' || commas > 1 || body.empty() || body == ",") {
      Atom("\\{", 1);
      return absl::OkStatus();
    }
    if (!atom_begin_) return Refused("a quantifier without its atom");
    at_ = end + 1;
    out_ += "{" + std::string(body[0] == ',' ? "0" : "") + std::string(body) + "}";
    if (Peek() == '?') {
      if (commas == 0) return Refused("{n}?");
      out_ += in_[at_++];
    } else if (Peek() == '+' || Peek() == '*') {
      out_.insert(*atom_begin_, "(?:");
      out_ += ")";
    }
    return absl::OkStatus();
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  std::optional<size_t> atom_begin_;  // in out_
  std::vector<Group> groups_;
  bool caseless_ = false;
};

}  // namespace

absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace lfm2
