#include "model/tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include <random>

#include "model/tokenizer/bytes.h"
#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

using testing_support::Goldens;
using testing_support::Load;

std::vector<std::string> Pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::vector<std::string> pieces;
  pieces.reserve(ids.size() + 1);
  for (int32_t id : ids) pieces.push_back(decoder.Push(id));
  pieces.push_back(decoder.Flush());
  return pieces;
}

std::string Joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

void ExpectStreamEqualsDecode(const Tokenizer& tokenizer) {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> ids(1 + random() % 24);
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % static_cast<uint32_t>(tokenizer.vocab_size()));
    const bool skip_special = round % 2 == 0;
    const std::vector<std::string> pieces = Pieces(tokenizer, ids, skip_special);
    for (const std::string& piece : pieces) ASSERT_TRUE(CheckUtf8(piece).ok());
    ASSERT_EQ(Joined(pieces), *tokenizer.Decode(ids, skip_special)) << testing::PrintToString(ids);
  }
}

TEST(StreamDecoder, AnyIdsOfByteLevelBpeStreamToWhatDecodeGives) {
  ExpectStreamEqualsDecode(*Load(Goldens() / "lfm2-tiny"));
}

TEST(StreamDecoder, AnyIdsOfTheByteTokenizerStreamToWhatDecodeGives) {
  ExpectStreamEqualsDecode(*MakeByteTokenizer());
}

TEST(StreamDecoder, AnyIdsOfSentencepieceStreamToWhatDecodeGives) {
  for (const char* name : {"unigram.model", "bpe.model", "no_prefix.model"}) {
    const auto tokenizer = Load(Goldens() / "sentencepiece" / name);
    ASSERT_NE(tokenizer, nullptr);
    ExpectStreamEqualsDecode(*tokenizer);
  }
}

TEST(StreamDecoder, AnyIdsOfByteFallbackStreamToWhatDecodeGives) {
  Json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    vocab[name] = byte;
  }
  vocab["\u2581"] = 256;
  vocab["\u2581a"] = 257;
  Json json = testing_support::PlainBpe(vocab, Json::array());
  json["decoder"] = *ParseJson(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  const auto tokenizer = testing_support::FromJson(json);
  ASSERT_NE(tokenizer, nullptr);
  ExpectStreamEqualsDecode(*tokenizer);
  EXPECT_EQ(*tokenizer->Decode(std::vector<int32_t>{256, 257, 257}, true), " a a");
}

TEST(StreamDecoder, HoldsACharacterUntilItIsWhole) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(Pieces(*tokenizer, {'a', 0xF0, 0x9F, 0x98, 0x80, 'b'}, true),
            (std::vector<std::string>{"a", "", "", "", "\U0001F600", "b", ""}));
}

TEST(StreamDecoder, ReplacesWhatIsLeftAtTheEnd) {
  EXPECT_EQ(Joined(Pieces(*MakeByteTokenizer(), {0xE2, 0x82}, true)), "\uFFFD");
}

TEST(StreamDecoder, PassesOverIdsOutsideTheVocabulary) {
  EXPECT_EQ(Joined(Pieces(*MakeByteTokenizer(), {'a', -1, 100000, 'b'}, true)), "ab");
}

}  // namespace
}  // namespace lfm2
