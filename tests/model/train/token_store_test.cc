#include "model/train/token_store.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/errors.h"
#include "model/tokenizer/bytes.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

class TokenStoreTest : public ::testing::Test {
 protected:
  DatasetFile File(const std::string& name, const std::string& content) {
    const auto path = root_.path() / name;
    std::ofstream(path, std::ios::binary) << content;
    return {path, name};
  }
  std::filesystem::path StorePath() const { return root_.path() / "tokens.bin"; }
  absl::StatusOr<TokenStoreResult> Build(const std::vector<DatasetFile>& files) {
    return OpenOrBuildTokenStore(files, *bytes_, StorePath());
  }

  testing::TemporaryDirectory root_;
  std::shared_ptr<const Tokenizer> bytes_ = MakeByteTokenizer();
};

std::vector<int64_t> EndsOf(const TokenStore& store) {
  return {store.document_ends().begin(), store.document_ends().end()};
}

TEST_F(TokenStoreTest, HoldsEachDocumentWithItsSpecialTokens) {
  const auto built = Build({File("a.jsonl",
                                 "{\"text\": \"hi\"}\n{\"text\": \"\"}\n"
                                 "{\"text\": \"yo!\"}\n"),
                            File("b.txt", "x\ny")});
  ASSERT_TRUE(built.ok()) << built.status();
  const auto alone = bytes_->Encode("hi", {.add_special = true, .parse_special = false}).value();
  const bool has_bos = alone.front() == 257;
  std::vector<int32_t> expected;
  std::vector<int64_t> ends;
  for (const std::string text : {"hi", "yo!", "x\ny"}) {
    if (has_bos) expected.push_back(257);
    for (char c : text) expected.push_back(static_cast<unsigned char>(c));
    expected.push_back(258);
    ends.push_back(static_cast<int64_t>(expected.size()));
  }
  const auto tokens = built->store.tokens();
  EXPECT_EQ(std::vector<int32_t>(tokens.begin(), tokens.end()), expected);
  EXPECT_EQ(EndsOf(built->store), ends);
  EXPECT_EQ(built->store.max_id(), 258);
  EXPECT_EQ(built->empty_documents, 1);
}

TEST_F(TokenStoreTest, APlainTextOfManyPiecesIsOneDocument) {
  std::string text;
  while (text.size() < (3u << 20)) text += "a line of text that is repeated\n";
  const auto built = Build({File("long.txt", text)});
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->store.document_ends().size(), 1u);
  EXPECT_EQ(built->store.tokens().back(), 258);
  EXPECT_GE(built->store.tokens().size(), text.size() + 1);
  EXPECT_LE(built->store.tokens().size(), text.size() + 2);
}

TEST_F(TokenStoreTest, IsFoundAgainAndMadeAnewWhenTheContentChanges) {
  const DatasetFile file = File("a.txt", "one");
  EXPECT_FALSE(Build({file})->reused);
  EXPECT_TRUE(Build({file})->reused);
  File("a.txt", "two");
  const auto changed = Build({file});
  EXPECT_FALSE(changed->reused);
  EXPECT_TRUE(Build({file})->reused);
  // The same bytes read as another format are another dataset.
  EXPECT_NE(TokenStoreKey({file}, *bytes_).value(),
            TokenStoreKey({{file.path, "a.jsonl"}}, *bytes_).value());
}

TEST_F(TokenStoreTest, AStoreThatIsCutOrBentIsNotBelieved) {
  const DatasetFile file = File("a.txt", "some text to keep");
  const std::string good = [&] {
    EXPECT_TRUE(Build({file}).ok());
    return ReadFile(StorePath(), 1 << 20).value();
  }();
  for (size_t size = 0; size < good.size(); ++size) {
    std::ofstream(StorePath(), std::ios::binary) << good.substr(0, size);
    EXPECT_FALSE(TokenStore::Open(StorePath()).ok()) << size;
  }
  const auto rebuilt = Build({file});
  ASSERT_TRUE(rebuilt.ok());
  EXPECT_FALSE(rebuilt->reused);
  EXPECT_EQ(ReadFile(StorePath(), 1 << 20).value(), good);
  // Any bit of the counts or of the document ends.
  for (size_t at = good.size() - 96 - 8; at < good.size(); ++at) {
    if (at >= good.size() - 96 && at < good.size() - 32) continue;  // the key
    if (at >= good.size() - 16 && at < good.size() - 8) continue;   // the largest id
    std::string bent = good;
    bent[at] = static_cast<char>(bent[at] ^ 0x40);
    std::ofstream(StorePath(), std::ios::binary) << bent;
    EXPECT_FALSE(TokenStore::Open(StorePath()).ok()) << at;
  }
}

TEST_F(TokenStoreTest, ABadLineIsToldWithItsFileAndLeavesNoHalfStore) {
  const auto built = Build({File("bad.jsonl", "{\"text\": \"fine\"}\n{\"txt\": 1}\n")});
  EXPECT_EQ(DetailsOf(built.status()).reason, Reason::kDatasetInvalid);
  EXPECT_NE(built.status().message().find("bad.jsonl"), std::string::npos) << built.status();
  int64_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(root_.path())) {
    ++files;
  }
  EXPECT_EQ(files, 1);
}

}  // namespace
}  // namespace lfm2
