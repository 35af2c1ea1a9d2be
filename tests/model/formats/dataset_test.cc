#include "model/formats/dataset.h"

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

struct Pass {
  std::vector<std::string> documents;
  std::vector<std::string> pieces;
  absl::Status status;
};

Pass ReadAll(const std::string& content, DatasetFormat format, int64_t piece_bytes = 1 << 20) {
  const ScratchFolder folder;
  Spill(folder / "data.txt", content);
  Pass pass;
  auto reader = DatasetReader::Open(folder / "data.txt", format, piece_bytes);
  if (!reader.ok()) {
    pass.status = reader.status();
    return pass;
  }
  bool continues = false;
  while (true) {
    auto piece = (*reader)->Next();
    if (!piece.ok()) {
      pass.status = piece.status();
      return pass;
    }
    if (!piece->has_value()) return pass;
    if (!continues) pass.documents.emplace_back();
    pass.documents.back() += (*piece)->text;
    pass.pieces.push_back((*piece)->text);
    continues = (*piece)->continues;
  }
}

TEST(Dataset, TellsTheFormatByTheName) {
  EXPECT_EQ(DatasetFormatOf("a.jsonl"), DatasetFormat::kJsonl);
  EXPECT_EQ(DatasetFormatOf("a.ndjson"), DatasetFormat::kJsonl);
  EXPECT_EQ(DatasetFormatOf("a.txt"), DatasetFormat::kText);
  EXPECT_EQ(DatasetFormatOf("jsonl"), DatasetFormat::kText);
}

TEST(Dataset, ATextFileIsOneDocumentInPieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "line " + std::to_string(i) + "\n";
  for (int64_t piece : {4, 5, 64, 1000, 1 << 20}) {
    const Pass pass = ReadAll(text, DatasetFormat::kText, piece);
    ASSERT_EQ(pass.documents.size(), 1u) << piece;
    EXPECT_EQ(pass.documents[0], text) << piece;
    for (const std::string& part : pass.pieces) {
      EXPECT_LE(static_cast<int64_t>(part.size()), piece);
      EXPECT_TRUE(piece < 64 || part.back() == '\n');
    }
  }
}

TEST(Dataset, APieceEndsBetweenCharactersWhereThereIsNoLineBreak) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xe2\x82\xac\xf0\x9f\x98\x80";
  const Pass pass = ReadAll(text, DatasetFormat::kText, 10);
  EXPECT_EQ(pass.documents[0], text);
  for (const std::string& part : pass.pieces) EXPECT_NE(part[0] & 0xC0, 0x80);
}

TEST(Dataset, TextMayHoldAnyBytes) {
  std::string bytes;
  for (int i = 0; i < 1024; ++i) bytes += static_cast<char>(i * 37);
  bytes += std::string(64, '\x80');
  for (int64_t piece : {4, 7, 100, 2000}) {
    EXPECT_EQ(ReadAll(bytes, DatasetFormat::kText, piece).documents[0], bytes);
  }
}

TEST(Dataset, AnEmptyFileHasNoDocument) {
  EXPECT_TRUE(ReadAll("", DatasetFormat::kText).documents.empty());
  EXPECT_TRUE(ReadAll("", DatasetFormat::kJsonl).documents.empty());
  EXPECT_TRUE(ReadAll("\n \r\n\t\n", DatasetFormat::kJsonl).documents.empty());
}

TEST(Dataset, AJsonlLineIsADocument) {
  const Pass pass =
      ReadAll("{\"text\":\"a\\nb\"}\r\n\n{\"text\":\"\"}\n{\"id\":1,\"text\":\"\\u20ac\"}",
              DatasetFormat::kJsonl);
  ASSERT_TRUE(pass.status.ok()) << pass.status;
  EXPECT_EQ(pass.documents, (std::vector<std::string>{"a\nb", "", "\xe2\x82\xac"}));
}

TEST(Dataset, ALongJsonlDocumentComesInPieces) {
  const std::string text(5'000'000, 'x');
  const Pass pass =
      ReadAll("{\"text\":\"" + text + "\"}\n{\"text\":\"b\"}\n", DatasetFormat::kJsonl);
  ASSERT_EQ(pass.documents.size(), 2u);
  EXPECT_EQ(pass.documents[0], text);
  EXPECT_EQ(pass.pieces.size(), 6u);
}

TEST(Dataset, NamesTheLineThatBreaksARule) {
  const std::string good = "{\"text\":\"a\"}\n";
  for (const std::string& bad :
       {std::string("[1]"), std::string("{\"txt\":\"a\"}"), std::string("{\"text\":1}"),
        std::string("{\"text\":"), std::string("{\"text\":\"\xff\"}"), std::string("text"),
        std::string("{\"text\":\"a\",\"text\":\"b\"}")}) {
    const Pass pass = ReadAll(absl::StrCat(good, "\n", bad, "\n", good), DatasetFormat::kJsonl);
    EXPECT_REASON("DATASET_INVALID", pass.status);
    EXPECT_EQ(DetailsOf(pass.status).metadata["line"], "3") << pass.status;
    EXPECT_EQ(pass.documents.size(), 1u);
  }
}

TEST(Dataset, TakesALineOfTheLimitAndRefusesOneByteMore) {
  const std::string frame = "{\"text\":\"\"}";
  const std::string fill(static_cast<size_t>(kDefaultLimits.jsonl_line_bytes) - frame.size(), 'x');
  EXPECT_TRUE(ReadAll("{\"text\":\"" + fill + "\"}\n", DatasetFormat::kJsonl).status.ok());
  EXPECT_SAYS("limit of", ReadAll("{\"text\":\"" + fill + "x\"}\n", DatasetFormat::kJsonl).status);
}

TEST(Dataset, RefusesWhatIsNoFileAndPiecesOfNoSize) {
  const ScratchFolder folder;
  EXPECT_REASON("FILE_NOT_FOUND",
                DatasetReader::Open(folder / "gone", DatasetFormat::kText).status());
  EXPECT_REASON("FILE_NOT_FOUND",
                DatasetReader::Open(folder.path(), DatasetFormat::kText).status());
  EXPECT_REASON("INVALID_ARGUMENT", ReadAll("x", DatasetFormat::kText, 3).status);
}

}  // namespace
}  // namespace lfm2
