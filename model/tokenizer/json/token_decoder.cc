#include "model/tokenizer/json/token_decoder.h"

#include <cctype>
#include <utility>

#include "base/status_macros.h"
#include "model/tokenizer/json/byte_level.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/metaspace.h"
#include "model/tokenizer/json/pattern.h"

namespace lfm2 {
namespace {

using Step = TokenDecoder::Step;
constexpr int kDeepest = 8;

class ByteLevelStep : public Step {
 public:
  std::string Apply(std::string token, bool) const override { return BytesOfToken(token); }
};

// "<0xE2>" is the byte E2.
class ByteFallbackStep : public Step {
 public:
  std::string Apply(std::string token, bool) const override {
    const bool is_byte = token.size() == 6 && token.starts_with("<0x") && token[5] == '>' &&
                         std::isxdigit(static_cast<unsigned char>(token[3])) &&
                         std::isxdigit(static_cast<unsigned char>(token[4]));
    if (!is_byte) return token;
    return std::string(1, static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16)));
  }
};

class ReplaceStep : public Step {
 public:
  ReplaceStep(std::unique_ptr<const Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string Apply(std::string token, bool) const override {
    const absl::StatusOr<std::vector<TextRange>> matches = pattern_->FindAll(token);
    if (!matches.ok()) return token;
    std::string out;
    size_t at = 0;
    for (const TextRange& match : *matches) {
      out.append(token, at, match.begin - at);
      out += content_;
      at = match.end;
    }
    out.append(token, at, std::string::npos);
    return out;
  }

 private:
  std::unique_ptr<const Pattern> pattern_;
  std::string content_;
};

class MetaspaceStep : public Step {
 public:
  explicit MetaspaceStep(Metaspace metaspace) : metaspace_(std::move(metaspace)) {}
  std::string Apply(std::string token, bool first) const override {
    const bool drop = first && metaspace_.prepend != Metaspace::Prepend::kNever;
    const std::string& mark = metaspace_.replacement;
    std::string out;
    for (size_t at = 0; at < token.size();) {
      if (token.compare(at, mark.size(), mark) == 0) {
        if (!drop) out += ' ';
        at += mark.size();
      } else {
        out += token[at++];
      }
    }
    return out;
  }

 private:
  Metaspace metaspace_;
};

// Removes `content` up to `start` times from the front and `stop` times from the back; optionally
// from the first token only.
class StripStep : public Step {
 public:
  struct Options {
    std::string content;
    int64_t start;
    int64_t stop;
    bool first_only;
  };
  explicit StripStep(Options options) : options_(std::move(options)) {}
  std::string Apply(std::string token, bool first) const override {
    if (options_.first_only && !first) return token;
    std::string_view rest = token;
    for (int64_t i = 0; i < options_.start && rest.starts_with(options_.content); ++i) {
      rest.remove_prefix(options_.content.size());
    }
    for (int64_t i = 0; i < options_.stop && rest.ends_with(options_.content); ++i) {
      rest.remove_suffix(options_.content.size());
    }
    return std::string(rest);
  }

 private:
  Options options_;
};

class JoinWithSpaces : public Step {
 public:
  std::string Apply(std::string token, bool first) const override {
    return first ? token : " " + token;
  }
};

}  // namespace

absl::StatusOr<TokenDecoder> TokenDecoder::FromJson(const Json* json) {
  TokenDecoder decoder;
  if (json == nullptr) {
    decoder.steps_.push_back(std::make_unique<JoinWithSpaces>());
  } else {
    LFM2_RETURN_IF_ERROR(decoder.AddSteps(*json, 0));
  }
  return decoder;
}

absl::Status TokenDecoder::AddSequence(const Json& json, int depth) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, "decoder.Sequence"));
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "decoders"}));
  LFM2_ASSIGN_OR_RETURN(const Json* list, fields.RequiredArray("decoders"));
  if (depth == kDeepest) return TokenizerError(fields.where(), "is nested too deep");
  for (const Json& item : *list) LFM2_RETURN_IF_ERROR(AddSteps(item, depth + 1));
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddStrip(const Json& json) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, "decoder.Strip"));
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "content", "start", "stop"}));
  StripStep::Options options;
  LFM2_ASSIGN_OR_RETURN(options.content, fields.RequiredString("content"));
  LFM2_ASSIGN_OR_RETURN(options.start, fields.RequiredInt("start", 0, 1024));
  LFM2_ASSIGN_OR_RETURN(options.stop, fields.RequiredInt("stop", 0, 1024));
  if (options.content.empty())
    return TokenizerError(fields.where(), "content must be one character");
  options.first_only = form_ == Form::kWholeText;
  if (form_ == Form::kBytes || (options.first_only && (options.start > 1 || options.stop > 0))) {
    return TokenizerError(fields.where(),
                          "this place in the chain is not supported: it cannot be streamed");
  }
  steps_.push_back(std::make_unique<StripStep>(std::move(options)));
  return absl::OkStatus();
}

absl::Status TokenDecoder::AddSteps(const Json& json, int depth) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields outer, JsonFields::Of(json, "decoder"));
  LFM2_ASSIGN_OR_RETURN(const std::string type, outer.RequiredString("type"));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(json, "decoder." + Shortened(type)));
  if (type == "Sequence") return AddSequence(json, depth);
  if (type == "Strip") return AddStrip(json);
  if (type == "Fuse") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type"}));
    form_ = Form::kWholeText;
    return absl::OkStatus();
  }
  if (type != "ByteLevel" && type != "ByteFallback" && type != "Replace" && type != "Metaspace") {
    return TokenizerError("decoder", "type \"" + Shortened(type) + "\" is not supported");
  }
  if (form_ != Form::kToken) {
    return TokenizerError(fields.where(),
                          "this place in the chain is not supported: it cannot be streamed");
  }
  if (type == "ByteLevel") {
    LFM2_RETURN_IF_ERROR(
        fields.OnlyKeys({"type", "add_prefix_space", "use_regex", "trim_offsets"}));
    steps_.push_back(std::make_unique<ByteLevelStep>());
    form_ = Form::kWholeText;
  } else if (type == "ByteFallback") {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type"}));
    steps_.push_back(std::make_unique<ByteFallbackStep>());
    form_ = Form::kBytes;
    replacement_ = Utf8Replacement::kEachByte;
  } else if (type == "Metaspace") {
    LFM2_ASSIGN_OR_RETURN(Metaspace metaspace, Metaspace::FromJson(fields));
    steps_.push_back(std::make_unique<MetaspaceStep>(std::move(metaspace)));
  } else {
    LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "pattern", "content"}));
    LFM2_ASSIGN_OR_RETURN(auto pattern, PatternFromJson(fields.Find("pattern"), fields.where()));
    LFM2_ASSIGN_OR_RETURN(std::string content, fields.RequiredString("content"));
    steps_.push_back(std::make_unique<ReplaceStep>(std::move(pattern), std::move(content)));
  }
  return absl::OkStatus();
}

std::string TokenDecoder::BytesOf(std::string_view token, bool first) const {
  std::string text(token);
  for (const auto& step : steps_) text = step->Apply(std::move(text), first);
  return text;
}

}  // namespace lfm2
