#include "model/tokenizer/json/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

using testing_support::FromJson;
using testing_support::Ids;
using testing_support::PlainBpe;
using testing_support::RefusalOf;
using testing_support::TinyJson;

constexpr EncodeOptions kPlain = {.add_special = false, .parse_special = false};

Json LettersAb() {
  return PlainBpe(*ParseJson(R"({"a": 0, "b": 1, "aa": 2, "ab": 3, "aab": 4, "aaaa": 5})"),
                  *ParseJson(R"([["a", "a"], ["a", "b"], ["aa", "b"], ["aa", "aa"]])"));
}

// The plain twin: the best-ranked pair, leftmost first, until there is none.
std::vector<int32_t> MergeNaively(std::vector<int32_t> ids,
                                  const std::map<std::pair<int32_t, int32_t>, Merge>& merges) {
  while (true) {
    size_t best = ids.size();
    int32_t rank = INT32_MAX;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = merges.find({ids[i], ids[i + 1]});
      if (it != merges.end() && it->second.rank < rank) {
        rank = it->second.rank;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = merges.at({ids[best], ids[best + 1]}).id;
    ids.erase(ids.begin() + static_cast<long>(best) + 1);
  }
}

TEST(Bpe, MergesAsTheNaiveMethodDoes) {
  const auto tokenizer = FromJson(LettersAb());
  const std::map<std::pair<int32_t, int32_t>, Merge> merges = {
      {{0, 0}, {0, 2}}, {{0, 1}, {1, 3}}, {{2, 1}, {2, 4}}, {{2, 2}, {3, 5}}};
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    std::vector<int32_t> symbols;
    for (size_t i = 1 + random() % 30; i > 0; --i) {
      symbols.push_back(static_cast<int32_t>(random() % 4 == 0));
      text += symbols.back() == 0 ? 'a' : 'b';
    }
    ASSERT_EQ(Ids(*tokenizer, text, kPlain), MergeNaively(symbols, merges)) << text;
  }
}

TEST(Bpe, EncodesAMebibyteOfOneLetterInBoundedTime) {
  EXPECT_EQ(Ids(*FromJson(LettersAb()), std::string(1 << 20, 'a'), kPlain).size(), size_t{1} << 18);
  EXPECT_FALSE(Ids(*FromJson(TinyJson()), std::string(1 << 20, 'x'), kPlain).empty());
  EXPECT_FALSE(Ids(*FromJson(TinyJson()), std::string(1 << 20, ' ') + "x", kPlain).empty());
}

TEST(Bpe, TakesAWholePieceFirstWhenMergesAreIgnored) {
  Json json = LettersAb();
  json["model"]["vocab"]["bab"] = 6;
  EXPECT_EQ(Ids(*FromJson(json), "bab", kPlain), (std::vector<int32_t>{1, 3}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(Ids(*FromJson(json), "bab", kPlain), (std::vector<int32_t>{6}));
}

TEST(Bpe, MergesGivenAsTextEqualMergesGivenAsPairs) {
  Json json = LettersAb();
  json["model"]["merges"] = *ParseJson(R"(["a a", "a b", "aa b", "aa aa"])");
  EXPECT_EQ(Ids(*FromJson(json), "aaab", kPlain), Ids(*FromJson(LettersAb()), "aaab", kPlain));
}

TEST(Bpe, NeverMergesUserTextIntoASpecialToken) {
  Json json = LettersAb();
  json["model"]["ignore_merges"] = true;
  json["added_tokens"] =
      *ParseJson(R"([{"id": 3, "content": "ab", "special": true, "normalized": false}])");
  const auto tokenizer = FromJson(json);
  EXPECT_EQ(Ids(*tokenizer, "ab", kPlain), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(Ids(*tokenizer, "bab", kPlain), (std::vector<int32_t>{1, 0, 1}));
  EXPECT_EQ(Ids(*tokenizer, "ab", {.add_special = false, .parse_special = true}),
            (std::vector<int32_t>{3}));
}

TEST(Bpe, UnknownCharactersBecomeTheUnknownTokenOrAnError) {
  Json json = LettersAb();
  const absl::Status status = FromJson(json)->Encode("a\u00E9", kPlain).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kInvalidArgument);
  EXPECT_NE(status.message().find("U+00E9"), absl::string_view::npos);
  json["model"]["vocab"]["<unk>"] = 6;
  json["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(Ids(*FromJson(json), "zzb", kPlain), (std::vector<int32_t>{6, 6, 1}));
  json["model"]["fuse_unk"] = true;
  EXPECT_EQ(Ids(*FromJson(json), "zzb", kPlain), (std::vector<int32_t>{6, 1}));
}

TEST(Bpe, FallsBackToBytes) {
  Json json = LettersAb();
  json["model"]["vocab"]["<0xC3>"] = 6;
  json["model"]["vocab"]["<0xA9>"] = 7;
  json["model"]["byte_fallback"] = true;
  EXPECT_EQ(Ids(*FromJson(json), "a\u00E9", kPlain), (std::vector<int32_t>{0, 6, 7}));
  EXPECT_FALSE(FromJson(json)->Encode("\u00E8", kPlain).ok());
}

TEST(Bpe, MarksTheRestAndTheEndOfAWord) {
  Json json =
      PlainBpe(*ParseJson(R"({"a": 0, "##a": 1, "##a</w>": 2, "a</w>": 3, "a##a": 4, "aa": 5})"),
               *ParseJson(R"([["a", "##a"]])"));
  json["model"]["continuing_subword_prefix"] = "##";
  json["model"]["end_of_word_suffix"] = "</w>";
  EXPECT_EQ(Ids(*FromJson(json), "aaa", kPlain), (std::vector<int32_t>{5, 2}));
  EXPECT_EQ(Ids(*FromJson(json), "a", kPlain), (std::vector<int32_t>{3}));
}

TEST(Bpe, RefusesWhatItCannotDoByName) {
  const auto with = [](const char* key, const Json& value) {
    Json json = LettersAb();
    json["model"][key] = value;
    return RefusalOf(json);
  };
  EXPECT_NE(with("type", "WordPiece").find("WordPiece"), std::string::npos);
  EXPECT_NE(with("dropout", 0.1).find("dropout"), std::string::npos);
  EXPECT_NE(with("unk_token", "<nope>").find("unk_token"), std::string::npos);
  EXPECT_NE(with("novelty", 1).find("novelty"), std::string::npos);
  EXPECT_NE(with("merges", Json::array({"a"})).find("entry 0"), std::string::npos);
  EXPECT_NE(with("merges", Json::array({"a b c"})).find("entry 0"), std::string::npos);
  EXPECT_NE(with("merges", Json::array({"b b"})).find("lacks"), std::string::npos);
  EXPECT_NE(with("vocab", Json{{"a", -1}}).find("id of"), std::string::npos);
  EXPECT_NE(with("vocab", Json{{"a", 1 << 22}}).find("id of"), std::string::npos);
  EXPECT_NE(with("vocab", Json{{"a", 1}, {"b", 1}}).find("id 1"), std::string::npos);
  EXPECT_EQ(with("dropout", 0.0), "(accepted)");
}

}  // namespace
}  // namespace lfm2
