#include "model/tokenizer/json/gguf_tokenizer.h"

#include <iterator>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {
namespace {

constexpr char kModel[] = "tokenizer.ggml.model";
constexpr char kPre[] = "tokenizer.ggml.pre";
constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";

constexpr int kLowestType = 1, kHighestType = 6;
constexpr int kControl = 3, kUserDefined = 4;

// The two patterns in use; they differ in how many digits form a piece.
constexpr char kLlamaPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Family {
  const char* pre;
  const char* pattern;     // null: GPT-2's, which ByteLevel has
  bool single_digits;      // splits off each digit before the pattern is applied
  const char* normalizer;  // null: none
  bool ignore_merges;
  bool adds_bos;  // where the file does not say
};

constexpr Family kFamilies[] = {
    {"gpt-2", nullptr, false, nullptr, false, false},
    {"smollm", nullptr, true, nullptr, false, false},
    {"llama-bpe", kLlamaPattern, false, nullptr, true, true},
    {"llama3", kLlamaPattern, false, nullptr, true, true},
    {"llama-v3", kLlamaPattern, false, nullptr, true, true},
    {"lfm2", kLlamaPattern, false, nullptr, true, true},
    {"qwen2", kQwenPattern, false, "NFC", false, false},
};

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json PreTokenizer(const Family& family) {
  Json parts = Json::array();
  if (family.single_digits) {
    parts.push_back(Json{{"type", "Digits"}, {"individual_digits", true}});
  }
  if (family.pattern != nullptr) {
    parts.push_back(Json{{"type", "Split"},
                         {"pattern", {{"Regex", family.pattern}}},
                         {"behavior", "Isolated"},
                         {"invert", false}});
  }
  parts.push_back(ByteLevel(family.pattern == nullptr));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

class Builder {
 public:
  explicit Builder(const GgufFile& file) : file_(file) {}

  absl::StatusOr<TokenizerFiles> Run() {
    LFM2_ASSIGN_OR_RETURN(const std::string model, String(kModel));
    if (model != "gpt2") {
      return TokenizerError(
          kModel, "is \"" + Shortened(model) + "\"; only \"gpt2\" (byte-level BPE) is read");
    }
    LFM2_ASSIGN_OR_RETURN(const Family* family, FindFamily());
    LFM2_ASSIGN_OR_RETURN(tokens_, Strings(kTokens));
    LFM2_ASSIGN_OR_RETURN(const Json merges, Strings(kMerges));
    LFM2_ASSIGN_OR_RETURN(Json added, AddedTokens());
    LFM2_ASSIGN_OR_RETURN(Json post, PostProcessor(*family));
    LFM2_ASSIGN_OR_RETURN(Json config, Config());
    const Json tokenizer = {
        {"version", "1.0"},
        {"added_tokens", std::move(added)},
        {"normalizer",
         family->normalizer == nullptr ? Json(nullptr) : Json{{"type", family->normalizer}}},
        {"pre_tokenizer", PreTokenizer(*family)},
        {"post_processor", std::move(post)},
        {"decoder", ByteLevel(true)},
        {"model",
         {{"type", "BPE"},
          {"ignore_merges", family->ignore_merges},
          {"vocab", Vocabulary()},
          {"merges", merges}}}};
    return TokenizerFiles{tokenizer.dump(), config.dump(2) + "\n"};
  }

 private:
  const Json* Find(const std::string& key) const {
    const auto it = file_.metadata.find(key);
    return it == file_.metadata.end() ? nullptr : &it->second;
  }

  absl::StatusOr<std::string> String(const std::string& key) const {
    const Json* value = Find(key);
    if (value == nullptr || !value->is_string())
      return TokenizerError(key, "is missing or not a string");
    auto text = value->get<std::string>();
    if (!CheckUtf8(text).ok()) return TokenizerError(key, "is not valid UTF-8");
    return text;
  }

  absl::StatusOr<const Family*> FindFamily() const {
    LFM2_ASSIGN_OR_RETURN(const std::string pre, String(kPre));
    std::string known;
    for (const Family& family : kFamilies) {
      if (pre == family.pre) return &family;
      known += (known.empty() ? "" : ", ") + std::string(family.pre);
    }
    return TokenizerError(kPre, "is \"" + Shortened(pre) + "\"; these are known: " + known);
  }

  absl::StatusOr<Json> Strings(const std::string& key) const {
    const Json* list = Find(key);
    if (list == nullptr || !list->is_array())
      return TokenizerError(key, "is missing or not a list");
    for (size_t i = 0; i < list->size(); ++i) {
      const Json& entry = (*list)[i];
      if (!entry.is_string() || !CheckUtf8(entry.get_ref<const std::string&>()).ok()) {
        return TokenizerError(key, absl::StrCat("entry ", i, " is not a string of valid UTF-8"));
      }
    }
    if (static_cast<int64_t>(list->size()) > kDefaultLimits.vocab_size && key == kTokens) {
      return TokenizerError(
          key, absl::StrCat("has ", list->size(), " entries, limit ", kDefaultLimits.vocab_size));
    }
    return *list;
  }

  // Appends without a check: the reader of the resulting text refuses a token that appears twice.
  Json Vocabulary() const {
    Json vocab = Json::object();
    auto& members = vocab.get_ref<Json::object_t&>();
    members.reserve(tokens_.size());
    for (size_t i = 0; i < tokens_.size(); ++i) {
      members.push_back(Json::object_t::value_type(tokens_[i].get_ref<const std::string&>(), i));
    }
    return vocab;
  }

  absl::StatusOr<Json> AddedTokens() const {
    const Json* types = Find(kTypes);
    if (types == nullptr || !types->is_array() || types->size() != tokens_.size()) {
      return TokenizerError(kTypes, absl::StrCat("is not a list with one entry for each of ",
                                                 tokens_.size(), " tokens"));
    }
    Json added = Json::array();
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const Json& type = (*types)[i];
      if (!type.is_number_integer() || type < kLowestType || type > kHighestType) {
        return TokenizerError(kTypes, absl::StrCat("entry ", i, " is not one of ", kLowestType,
                                                   " to ", kHighestType));
      }
      if (type != kControl && type != kUserDefined) continue;
      added.push_back(Json{{"id", i},
                           {"content", tokens_[i]},
                           {"single_word", false},
                           {"lstrip", false},
                           {"rstrip", false},
                           {"normalized", false},
                           {"special", type == kControl}});
    }
    return added;
  }

  // Null when the file does not have the key.
  absl::StatusOr<Json> TokenNamedBy(const std::string& key) const {
    const Json* id = Find(key);
    if (id == nullptr) return Json(nullptr);
    if (!id->is_number_unsigned() || id->get<uint64_t>() >= tokens_.size()) {
      return TokenizerError(key, absl::StrCat("is not an id below ", tokens_.size()));
    }
    return tokens_[id->get<size_t>()];
  }

  absl::StatusOr<bool> Flag(const std::string& key, bool absent) const {
    const Json* value = Find(key);
    if (value == nullptr) return absent;
    if (!value->is_boolean()) return TokenizerError(key, "is neither true nor false");
    return value->get<bool>();
  }

  absl::StatusOr<Json> PostProcessor(const Family& family) const {
    LFM2_ASSIGN_OR_RETURN(const bool bos, Flag("tokenizer.ggml.add_bos_token", family.adds_bos));
    LFM2_ASSIGN_OR_RETURN(const bool eos, Flag("tokenizer.ggml.add_eos_token", false));
    Json single = Json::array(), specials = Json::object();
    LFM2_RETURN_IF_ERROR(AddSpecial(bos, "tokenizer.ggml.bos_token_id", single, specials));
    single.push_back(Json{{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    LFM2_RETURN_IF_ERROR(AddSpecial(eos, "tokenizer.ggml.eos_token_id", single, specials));
    Json pair = single;
    pair.push_back(Json{{"Sequence", {{"id", "B"}, {"type_id", 0}}}});
    return Json{{"type", "TemplateProcessing"},
                {"single", std::move(single)},
                {"pair", std::move(pair)},
                {"special_tokens", std::move(specials)}};
  }

  absl::Status AddSpecial(bool wanted, const std::string& key, Json& single, Json& specials) const {
    if (!wanted) return absl::OkStatus();
    LFM2_ASSIGN_OR_RETURN(const Json token, TokenNamedBy(key));
    if (token.is_null()) return TokenizerError(key, "is missing, but must be added to every text");
    single.push_back(Json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    const auto& name = token.get_ref<const std::string&>();
    specials[name] = {
        {"id", token}, {"ids", Json::array({*Find(key)})}, {"tokens", Json::array({token})}};
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Config() const {
    Json config = Json::object();
    constexpr std::pair<const char*, const char*> kSpecials[] = {
        {"bos_token", "tokenizer.ggml.bos_token_id"},
        {"eos_token", "tokenizer.ggml.eos_token_id"},
        {"pad_token", "tokenizer.ggml.padding_token_id"}};
    for (const auto& [name, key] : kSpecials) {
      LFM2_ASSIGN_OR_RETURN(Json token, TokenNamedBy(key));
      if (!token.is_null()) config[name] = std::move(token);
    }
    if (Find("tokenizer.chat_template") != nullptr) {
      LFM2_ASSIGN_OR_RETURN(config["chat_template"], String("tokenizer.chat_template"));
    }
    return config;
  }

  const GgufFile& file_;
  Json tokens_;
};

}  // namespace

absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(const GgufFile& file) {
  return Builder(file).Run();
}

}  // namespace lfm2
