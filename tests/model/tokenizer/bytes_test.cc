#include "model/tokenizer/bytes.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

using testing_support::Ids;

TEST(ByteTokenizer, IdsAreTheBytesAfterBos) {
  EXPECT_EQ(Ids(*MakeByteTokenizer(), "a\xC3\xA9"), (std::vector<int32_t>{257, 'a', 0xC3, 0xA9}));
}

TEST(ByteTokenizer, TakesAnyBytes) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const auto tokenizer = MakeByteTokenizer();
  const std::vector<int32_t> ids = Ids(*tokenizer, all, {.add_special = false});
  std::string back;
  for (int32_t id : ids) back += tokenizer->TokenBytes(id, true, false);
  EXPECT_EQ(back, all);
}

TEST(ByteTokenizer, ParsesItsSpecialTokensOnlyWhenAsked) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(Ids(*tokenizer, "x<eos>", {.add_special = false, .parse_special = true}),
            (std::vector<int32_t>{'x', 258}));
  EXPECT_EQ(Ids(*tokenizer, "<eos>", {.add_special = false}),
            (std::vector<int32_t>{'<', 'e', 'o', 's', '>'}));
}

TEST(ByteTokenizer, NamesItsPlaces) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  EXPECT_EQ(tokenizer->pad(), 256);
  EXPECT_EQ(tokenizer->bos(), 257);
  EXPECT_EQ(tokenizer->eos(), 258);
  EXPECT_EQ(tokenizer->kind(), "bytes");
  EXPECT_EQ(tokenizer->sha256(), Sha256Hex(kByteTokenizerDefinition));
  EXPECT_EQ(tokenizer->TokenId("<pad>"), 256);
  EXPECT_EQ(tokenizer->TokenId("A"), 'A');
  EXPECT_EQ(tokenizer->TokenId("AB"), std::nullopt);
}

TEST(ByteTokenizer, ShowsSpecialTokensWhenNotSkipped) {
  const std::vector<int32_t> ids = {257, 'h', 'i', 258};
  EXPECT_EQ(*MakeByteTokenizer()->Decode(ids, true), "hi");
  EXPECT_EQ(*MakeByteTokenizer()->Decode(ids, false), "<bos>hi<eos>");
}

TEST(ByteTokenizer, RefusesIdsOutsideTheVocabulary) {
  EXPECT_FALSE(MakeByteTokenizer()->Decode(std::vector<int32_t>{259}, true).ok());
  EXPECT_FALSE(MakeByteTokenizer()->Decode(std::vector<int32_t>{-1}, true).ok());
}

}  // namespace
}  // namespace lfm2
