#include "model/tokenizer/json/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

using testing_support::FromJson;
using testing_support::Ids;
using testing_support::RefusalOf;
using testing_support::TinyJson;

constexpr EncodeOptions kParsed = {.add_special = false, .parse_special = true};

Json TinyWithAdded(const char* token_json) {
  Json json = TinyJson();
  json["added_tokens"].push_back(*ParseJson(token_json));
  return json;
}

std::string TextOf(const Tokenizer& tokenizer, std::string_view text) {
  return *tokenizer.Decode(Ids(tokenizer, text, kParsed), false);
}

TEST(BpeTokenizer, AnAddedTokenTakesTheSpacesItStripsFor) {
  const auto left =
      FromJson(TinyWithAdded(R"({"id": 512, "content": "<m>", "lstrip": true, "special": true})"));
  EXPECT_EQ(TextOf(*left, "a \n<m> b"), "a<m> b");
  const auto right =
      FromJson(TinyWithAdded(R"({"id": 512, "content": "<m>", "rstrip": true, "special": true})"));
  EXPECT_EQ(TextOf(*right, "a <m> \tb"), "a <m>b");
}

TEST(BpeTokenizer, ASingleWordIsNoPartOfAnother) {
  const auto tokenizer = FromJson(
      TinyWithAdded(R"({"id": 512, "content": "cat", "single_word": true, "normalized": false})"));
  const auto count = [&](const char* text) {
    const auto ids = Ids(*tokenizer, text, kParsed);
    return std::count(ids.begin(), ids.end(), 512);
  };
  EXPECT_EQ(count("a cat."), 1);
  EXPECT_EQ(count("concat cats \u00E9cat cat\u0301"), 0);
}

TEST(BpeTokenizer, OrdinaryAddedTokensAreAlwaysFound) {
  const auto tokenizer =
      FromJson(TinyWithAdded(R"({"id": 512, "content": "<think>", "special": false})"));
  EXPECT_EQ(Ids(*tokenizer, "<think>", {.add_special = false, .parse_special = false}),
            (std::vector<int32_t>{512}));
  EXPECT_FALSE(tokenizer->IsSpecial(512));
}

TEST(BpeTokenizer, TheLongestAddedTokenWins) {
  Json json = TinyWithAdded(R"({"id": 512, "content": "<a>", "special": true})");
  json["added_tokens"].push_back(
      *ParseJson(R"({"id": 513, "content": "<a><b>", "special": true})"));
  EXPECT_EQ(Ids(*FromJson(json), "<a><b><a>", kParsed), (std::vector<int32_t>{513, 512}));
}

TEST(BpeTokenizer, NormalizedTokensAreFoundAfterNormalizing) {
  Json json = TinyWithAdded(R"({"id": 512, "content": "HELLO", "normalized": true})");
  json["normalizer"] = *ParseJson(R"({"type": "Lowercase"})");
  EXPECT_EQ(Ids(*FromJson(json), "HeLLo", kParsed), (std::vector<int32_t>{512}));
  json["added_tokens"].back()["normalized"] = false;
  EXPECT_NE(Ids(*FromJson(json), "HeLLo", kParsed), (std::vector<int32_t>{512}));
}

TEST(BpeTokenizer, TheConfigAddsBosOnlyWhereTheFileDoesNotSay) {
  Json json = TinyJson();
  TokenizerConfig config;
  config.bos_token = "<|startoftext|>";
  config.add_bos_token = true;
  EXPECT_EQ(Ids(*FromJson(json, config), ""), (std::vector<int32_t>{1}));
  json["post_processor"] = nullptr;
  EXPECT_EQ(Ids(*FromJson(json, config), ""), (std::vector<int32_t>{1}));
  EXPECT_EQ(Ids(*FromJson(json), ""), std::vector<int32_t>{});
}

TEST(BpeTokenizer, IdsWithoutATokenLeaveNoTrace) {
  const auto tokenizer =
      FromJson(testing_support::PlainBpe(Json{{"a", 0}, {"b", 600}}, Json::array()));
  EXPECT_EQ(tokenizer->vocab_size(), 601);
  EXPECT_EQ(*tokenizer->Decode(std::vector<int32_t>{0, 555, 600}, true), "ab");
  EXPECT_FALSE(tokenizer->Decode(std::vector<int32_t>{601}, true).ok());
  EXPECT_EQ(tokenizer->TokenBytes(555, true, true), "");
}

// The Rust library gives the next id, 512, to each of these, and only warns.
TEST(BpeTokenizer, RefusesAddedTokensThatTheReferenceWouldNumberOtherwise) {
  for (const char* token :
       {R"({"id": 600, "content": "<far>"})", R"({"id": 9, "content": "<taken>"})",
        R"({"id": 512, "content": "<|pad|>2"})"}) {
    const std::string refusal = RefusalOf(TinyWithAdded(token));
    EXPECT_EQ(refusal == "(accepted)", std::string(token).find("512") != std::string::npos)
        << refusal;
  }
  Json json = TinyWithAdded(R"({"id": 513, "content": "<b>"})");
  json["added_tokens"].push_back(*ParseJson(R"({"id": 512, "content": "<a>"})"));
  EXPECT_NE(RefusalOf(json).find("513"), std::string::npos);
}

TEST(BpeTokenizer, RefusesTextThatIsNotUtf8) {
  EXPECT_EQ(DetailsOf(FromJson(TinyJson())->Encode("a\xC3", {}).status()).reason,
            Reason::kInvalidUtf8);
}

TEST(BpeTokenizer, PassesOverTruncationAndPadding) {
  Json json = TinyJson();
  json["truncation"] = *ParseJson(
      R"({"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"})");
  EXPECT_EQ(Ids(*FromJson(json), "hello world"), Ids(*FromJson(TinyJson()), "hello world"));
}

TEST(BpeTokenizer, RefusesUnknownPartsByName) {
  const auto with = [](const char* part, const char* text) {
    Json json = TinyJson();
    json[part] = *ParseJson(text);
    return RefusalOf(json);
  };
  EXPECT_NE(with("normalizer", R"({"type": "Nmt"})").find("Nmt"), std::string::npos);
  EXPECT_NE(with("normalizer", R"({"type": "NFC", "extra": 1})").find("extra"), std::string::npos);
  EXPECT_NE(with("pre_tokenizer", R"({"type": "UnicodeScripts"})").find("UnicodeScripts"),
            std::string::npos);
  EXPECT_NE(
      with("pre_tokenizer",
           R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Torn", "invert": false})")
          .find("Torn"),
      std::string::npos);
  EXPECT_NE(with("post_processor", R"({"type": "Magic"})").find("Magic"), std::string::npos);
  EXPECT_NE(with("decoder", R"({"type": "WordPiece"})").find("WordPiece"), std::string::npos);
  EXPECT_NE(
      with("decoder",
           R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})")
          .find("ByteFallback"),
      std::string::npos);
  EXPECT_NE(with("version", R"("2.0")").find("2.0"), std::string::npos);
  EXPECT_NE(with("surprise", "1").find("surprise"), std::string::npos);
  EXPECT_NE(with("added_tokens", R"([{"id": 0, "content": "~~"}])").find("id 0"),
            std::string::npos);
  EXPECT_NE(with("added_tokens", R"([{"id": 9, "content": ""}])").find("content"),
            std::string::npos);
  EXPECT_NE(with("model", "null").find("model"), std::string::npos);
}

TEST(BpeTokenizer, RefusesATemplateThatLosesTheTextOrNamesUnknownTokens) {
  const auto with = [](const char* text) {
    Json json = TinyJson();
    json["post_processor"] = *ParseJson(text);
    return RefusalOf(json);
  };
  EXPECT_NE(with(R"({"type": "TemplateProcessing", "single": [], "special_tokens": {}})")
                .find("sequence A"),
            std::string::npos);
  EXPECT_NE(
      with(
          R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "special_tokens": {}})")
          .find("special_tokens"),
      std::string::npos);
  EXPECT_NE(
      with(
          R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
                     "special_tokens": {"x": {"id": "x", "ids": [99999], "tokens": ["x"]}}})")
          .find("99999"),
      std::string::npos);
}

TEST(BpeTokenizer, RefusesAConfigWhoseTokenIsNotThere) {
  TokenizerConfig config;
  config.eos_token = "<nowhere>";
  const auto tokenizer = MakeBpeTokenizer(TinyJson().dump(), config);
  EXPECT_EQ(DetailsOf(tokenizer.status()).reason, Reason::kTokenizerInvalid);
}

TEST(BpeTokenizer, ManyThreadsEncodeAtOnce) {
  const auto tokenizer = FromJson(TinyJson());
  const std::string text = "Hello  World\n\n  indented\ttab 12345 \u65E5\u672C\u8A9E";
  const std::vector<int32_t> expected = Ids(*tokenizer, text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (size_t i = 0; i < equal.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 200; ++round)
        equal[i] += *tokenizer->Encode(text, {}) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 200));
}

}  // namespace
}  // namespace lfm2
