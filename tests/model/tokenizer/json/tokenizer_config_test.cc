#include "model/tokenizer/json/tokenizer_config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

TEST(TokenizerConfig, ReadsTokensGivenAsTextOrAsObjects) {
  const auto config = *TokenizerConfig::Parse(
      R"({"bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>", "pad_token": null, "add_bos_token": false})");
  EXPECT_EQ(config.bos_token, "<s>");
  EXPECT_EQ(config.eos_token, "</s>");
  EXPECT_EQ(config.pad_token, std::nullopt);
  EXPECT_EQ(config.add_bos_token, false);
  EXPECT_EQ(config.add_eos_token, std::nullopt);
}

TEST(TokenizerConfig, TakesTheDefaultOfSeveralTemplates) {
  const auto config = *TokenizerConfig::Parse(
      R"({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]})");
  EXPECT_EQ(config.chat_template, "y");
  EXPECT_FALSE(
      TokenizerConfig::Parse(R"({"chat_template": [{"name": "rag", "template": "x"}]})").ok());
}

TEST(TokenizerConfig, TheTemplatesOwnFileWins) {
  const auto folder = testing_support::FreshFolder("config");
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"chat_template": "inline", "eos_token": "</s>"})";
  std::ofstream(folder / "special_tokens_map.json")
      << R"({"bos_token": "<s>", "eos_token": "other"})";
  std::ofstream(folder / "chat_template.jinja") << "of the file";
  const auto config = *TokenizerConfig::Read(folder);
  EXPECT_EQ(config.chat_template, "of the file");
  EXPECT_EQ(config.bos_token, "<s>");
  EXPECT_EQ(config.eos_token, "</s>");
}

TEST(TokenizerConfig, NoFileIsNoConfig) {
  const auto config = *TokenizerConfig::Read(testing_support::FreshFolder("no_config"));
  EXPECT_EQ(config.bos_token, std::nullopt);
  EXPECT_TRUE(config.chat_template.empty());
}

TEST(TokenizerConfig, RefusesValuesOfAnotherType) {
  for (const char* text : {R"({"bos_token": 1})", R"({"bos_token": {}})",
                           R"({"add_bos_token": "yes"})", R"({"chat_template": 3})", "[]", "{"}) {
    EXPECT_EQ(DetailsOf(TokenizerConfig::Parse(text).status()).reason, Reason::kTokenizerInvalid)
        << text;
  }
}

}  // namespace
}  // namespace lfm2
