#include "model/tokenizer/spm/sentencepiece.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

using testing_support::Goldens;
using testing_support::Ids;
using testing_support::JsonLines;
using testing_support::Load;

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};

std::string ModelBytes(const std::string& name) {
  return *ReadFile(Goldens() / "sentencepiece" / (name + ".model"), 1 << 20);
}

class SentencepieceGolden : public testing::TestWithParam<const char*> {};

TEST_P(SentencepieceGolden, IdsAndTextsEqualTheLibrarys) {
  const std::string name = GetParam();
  const auto tokenizer = Load(Goldens() / "sentencepiece" / (name + ".model"));
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<Json> lines = JsonLines(Goldens() / "sentencepiece" / (name + "_golden.jsonl"));
  ASSERT_GE(lines.size(), 20u);
  for (const Json& line : lines) {
    const auto text = line["text"].get<std::string>();
    const auto ids = line["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Ids(*tokenizer, text, kPlain), ids) << text;
    EXPECT_EQ(*tokenizer->Decode(ids, true), line["decoded"].get<std::string>()) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencepieceGolden,
                         testing::Values("unigram", "bpe", "no_prefix"));

TEST(Sentencepiece, AddsBosUnlessTheConfigSaysNo) {
  const auto with = *MakeSentencepieceTokenizer(ModelBytes("bpe"), {});
  ASSERT_TRUE(with->bos());
  EXPECT_EQ(Ids(*with, "the")[0], *with->bos());
  TokenizerConfig config;
  config.add_bos_token = false;
  config.add_eos_token = true;
  const auto without = *MakeSentencepieceTokenizer(ModelBytes("bpe"), config);
  EXPECT_NE(Ids(*without, "the")[0], *without->bos());
  EXPECT_EQ(Ids(*without, "the").back(), *without->eos());
}

TEST(Sentencepiece, ParsesControlPiecesOnlyWhenAsked) {
  const auto tokenizer = *MakeSentencepieceTokenizer(ModelBytes("bpe"), {});
  const auto parsed = Ids(*tokenizer, "the</s>", {.add_special = false, .parse_special = true});
  EXPECT_EQ(parsed.back(), *tokenizer->eos());
  for (int32_t id : Ids(*tokenizer, "<s>the</s>", kPlain)) EXPECT_FALSE(tokenizer->IsSpecial(id));
}

TEST(Sentencepiece, SaysWhatItIs) {
  const auto tokenizer = *MakeSentencepieceTokenizer(ModelBytes("bpe"), {});
  EXPECT_EQ(tokenizer->kind(), "sentencepiece");
  EXPECT_EQ(tokenizer->sha256(), Sha256Hex(ModelBytes("bpe")));
  EXPECT_EQ(tokenizer->pad(), 3);
  EXPECT_TRUE(tokenizer->TokenId("<tool>").has_value());
}

TEST(Sentencepiece, RefusesBytesThatAreNoModel) {
  for (const std::string& bytes :
       {std::string(), std::string("hello"), std::string("\x0a\xff\xff\xff\x7f", 5)}) {
    const auto tokenizer = MakeSentencepieceTokenizer(bytes, {});
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_EQ(DetailsOf(tokenizer.status()).reason, Reason::kTokenizerInvalid);
  }
}

TEST(Sentencepiece, RefusesAModelThatIsCutOff) {
  const std::string bytes = ModelBytes("unigram");
  for (size_t size = 1; size < bytes.size(); size += 97) {
    MakeSentencepieceTokenizer(std::string_view(bytes).substr(0, size), {}).IgnoreError();
  }
  EXPECT_FALSE(
      MakeSentencepieceTokenizer(std::string_view(bytes).substr(0, bytes.size() / 2), {}).ok());
}

TEST(Sentencepiece, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = *MakeSentencepieceTokenizer(ModelBytes("bpe"), {});
  EXPECT_EQ(DetailsOf(tokenizer->Encode("\xFF", kPlain).status()).reason, Reason::kInvalidUtf8);
}

TEST(Sentencepiece, EncodesAMebibyteOfOneLetterInBoundedTime) {
  const auto tokenizer = *MakeSentencepieceTokenizer(ModelBytes("bpe"), {});
  EXPECT_TRUE(tokenizer->Encode(std::string(1 << 20, 'a'), kPlain).ok());
}

}  // namespace
}  // namespace lfm2
