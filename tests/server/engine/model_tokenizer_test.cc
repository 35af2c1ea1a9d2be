#include "server/engine/model_tokenizer.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "model/tokenizer/bytes.h"

namespace lfm2 {
namespace {

const std::filesystem::path kTiny = std::filesystem::path(LFM2_GOLDENS_DIR) / "lfm2-tiny";

TEST(TokenizerForModel, LoadsTheFoldersTokenizer) {
  const auto tokenizer = TokenizerForModel(kTiny, 512);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->kind(), "bpe");
}

TEST(TokenizerForModel, RefusesATokenizerThatIsLargerThanTheVocabulary) {
  const int32_t size = TokenizerForModel(kTiny, 1 << 20).value()->vocab_size();
  EXPECT_TRUE(TokenizerForModel(kTiny, size).ok());
  const ErrorDetails details = DetailsOf(TokenizerForModel(kTiny, size - 1).status());
  EXPECT_EQ(details.reason, Reason::kTokenizerMismatch);
  EXPECT_EQ(details.metadata.at("tokenizer_vocab_size"), std::to_string(size));
  EXPECT_EQ(details.metadata.at("model_vocab_size"), std::to_string(size - 1));
}

TEST(TokenizerForModel, TakesBytesWhereThereIsNoTokenizer) {
  EXPECT_EQ(TokenizerForModel("", 259).value()->eos(), 258);
  EXPECT_EQ(TokenizerForModel("", 32000).value()->vocab_size(), 259);
}

TEST(TokenizerForModel, TakesBytesAloneForAVocabularyOf256) {
  const auto tokenizer = TokenizerForModel("", 256).value();
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  EXPECT_FALSE(tokenizer->bos().has_value());
  EXPECT_FALSE(tokenizer->eos().has_value());
  const auto ids =
      tokenizer->Encode("<eos>\xc3\xa9", {.add_special = true, .parse_special = true}).value();
  ASSERT_EQ(ids.size(), 7U);
  EXPECT_EQ(ids[6], 0xa9);
  EXPECT_EQ(tokenizer->Decode(ids, true).value(), "<eos>\xc3\xa9");
  EXPECT_FALSE(tokenizer->Decode(std::vector<int32_t>{256}, true).ok());
  EXPECT_FALSE(tokenizer->TokenId("<eos>").has_value());
  EXPECT_EQ(tokenizer->TokenBytes(258, false, false), "");
  EXPECT_NE(tokenizer->sha256(), MakeByteTokenizer()->sha256());
}

TEST(TokenizerForModel, RefusesAVocabularyThatBytesDoNotFit) {
  for (const int64_t size : {255, 257, 258}) {
    EXPECT_EQ(DetailsOf(TokenizerForModel("", size).status()).reason, Reason::kFileNotFound)
        << size;
  }
}

}  // namespace
}  // namespace lfm2
