#include "model/tokenizer/json/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/byte_level.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/pattern.h"
#include "model/tokenizer/unicode/unicode.h"
#include "model/tokenizer/unicode/unicode_form.h"

namespace lfm2 {
namespace {

using NormalizerPtr = std::unique_ptr<const Normalizer>;
constexpr int kDeepest = 8;

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(UnicodeForm form) : form_(form) {}
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    return ToUnicodeForm(text, form_);
  }

 private:
  UnicodeForm form_;
};

class Lowercase : public Normalizer {
 public:
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = NextUtf8(std::string_view(text).substr(at));
      at += step.bytes;
      if (step.code_point == 0x130) {  // the one letter whose lower case is two characters
        out += "i\xCC\x87";
        continue;
      }
      AppendUtf8(
          static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(step.code_point))),
          out);
    }
    return out;
  }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    size_t begin = text.size();
    size_t end = 0;
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = NextUtf8(std::string_view(text).substr(at));
      if (!IsWhitespace(step.code_point)) {
        begin = std::min(begin, at);
        end = at + step.bytes;
      }
      at += step.bytes;
    }
    if (begin == text.size()) return left_ || right_ ? std::string() : text;
    if (!right_) end = text.size();
    return text.substr(left_ ? begin : 0, end - (left_ ? begin : 0));
  }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    return text.empty() ? text : prefix_ + text;
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(std::unique_ptr<const Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    LFM2_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_->FindAll(text));
    std::string out;
    size_t at = 0;
    for (const TextRange& match : matches) {
      out.append(text, at, match.begin - at);
      out += content_;
      at = match.end;
    }
    out.append(text, at, std::string::npos);
    return out;
  }

 private:
  std::unique_ptr<const Pattern> pattern_;
  std::string content_;
};

class ByteLevelNormalizer : public Normalizer {
 public:
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    std::string out;
    AppendByteLevel(text, out);
    return out;
  }
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<NormalizerPtr> parts) : parts_(std::move(parts)) {}
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    for (const NormalizerPtr& part : parts_) {
      LFM2_ASSIGN_OR_RETURN(text, part->Normalize(std::move(text)));
    }
    return text;
  }

 private:
  std::vector<NormalizerPtr> parts_;
};

absl::StatusOr<NormalizerPtr> Parse(const Json& json, std::string_view where, int depth);

absl::StatusOr<NormalizerPtr> ParseSequence(const JsonFields& fields, int depth) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "normalizers"}));
  LFM2_ASSIGN_OR_RETURN(const Json* list, fields.RequiredArray("normalizers"));
  if (depth == kDeepest) return TokenizerError(fields.where(), "is nested too deep");
  std::vector<NormalizerPtr> parts;
  for (const Json& item : *list) {
    LFM2_ASSIGN_OR_RETURN(NormalizerPtr part, Parse(item, fields.where(), depth + 1));
    parts.push_back(std::move(part));
  }
  return std::make_unique<NormalizerSequence>(std::move(parts));
}

absl::StatusOr<NormalizerPtr> ParseWithKeys(const JsonFields& fields, std::string_view type) {
  if (type == "Strip") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "strip_left", "strip_right"}));
    LFM2_ASSIGN_OR_RETURN(const bool left, fields.Bool("strip_left", false));
    LFM2_ASSIGN_OR_RETURN(const bool right, fields.Bool("strip_right", false));
    return std::make_unique<Strip>(left, right);
  }
  if (type == "Prepend") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "prepend"}));
    LFM2_ASSIGN_OR_RETURN(std::string prefix, fields.RequiredString("prepend"));
    return std::make_unique<Prepend>(std::move(prefix));
  }
  if (type == "Replace") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "pattern", "content"}));
    LFM2_ASSIGN_OR_RETURN(auto pattern, PatternFromJson(fields.Find("pattern"), fields.where()));
    LFM2_ASSIGN_OR_RETURN(std::string content, fields.RequiredString("content"));
    return std::make_unique<Replace>(std::move(pattern), std::move(content));
  }
  return TokenizerError("normalizer", "type \"" + Shortened(type) + "\" is not supported");
}

absl::StatusOr<NormalizerPtr> Parse(const Json& json, std::string_view where, int depth) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields outer, JsonFields::Of(json, where));
  LFM2_ASSIGN_OR_RETURN(const std::string type, outer.RequiredString("type"));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(json, "normalizer." + Shortened(type)));
  if (type == "Sequence") return ParseSequence(fields, depth);
  static constexpr std::pair<std::string_view, UnicodeForm> kForms[] = {
      {"NFC", UnicodeForm::kNfc},
      {"NFD", UnicodeForm::kNfd},
      {"NFKC", UnicodeForm::kNfkc},
      {"NFKD", UnicodeForm::kNfkd},
  };
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type"}));
    return std::make_unique<FormNormalizer>(form);
  }
  if (type == "Lowercase" || type == "ByteLevel") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type"}));
    if (type == "Lowercase") return std::make_unique<Lowercase>();
    return std::make_unique<ByteLevelNormalizer>();
  }
  return ParseWithKeys(fields, type);
}

}  // namespace

absl::StatusOr<NormalizerPtr> NormalizerFromJson(const Json* json) {
  if (json == nullptr) return nullptr;
  return Parse(*json, "normalizer", 0);
}

}  // namespace lfm2
