#include "client/flags/source.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using Kind = ResolvedSource::Kind;

std::vector<std::string> Names(const ResolvedSource& source) {
  std::vector<std::string> names;
  for (const LocalFile& file : source.files) names.push_back(file.name);
  return names;
}

ResolvedSource Resolve(const std::string& text, SourcePurpose purpose = SourcePurpose::kWeights) {
  const absl::StatusOr<ResolvedSource> source = ResolveSource(text, purpose);
  EXPECT_TRUE(source.ok()) << source.status();
  return source.ok() ? *source : ResolvedSource{};
}

Reason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST(Source, AnExistingPathGoesBeforeEverythingElse) {
  const TempFolder folder;
  const std::string file = folder.Write("org/model", "x");
  EXPECT_EQ(Resolve(file).kind, Kind::kFiles);
  EXPECT_EQ(Names(Resolve(file)), std::vector<std::string>{"model"});
}

TEST(Source, HubNamesWithAndWithoutPrefixAreTheSame) {
  for (const char* text : {"hf:LiquidAI/LFM2-1.2B", "LiquidAI/LFM2-1.2B"}) {
    EXPECT_EQ(Resolve(text).kind, Kind::kHf);
    EXPECT_EQ(Resolve(text).name, "LiquidAI/LFM2-1.2B");
  }
  EXPECT_EQ(ModelReference("LiquidAI/LFM2-1.2B"), "hf:LiquidAI/LFM2-1.2B");
  EXPECT_EQ(ModelReference("ckpt@v2"), "ckpt@v2");
}

TEST(Source, APlainNameIsAModelOfTheServer) {
  EXPECT_EQ(Resolve("ckpt.pt").kind, Kind::kModel);
  EXPECT_EQ(Resolve("ckpt.pt").name, "ckpt.pt");
}

TEST(Source, BytesIsATokenizerAndNotAModel) {
  EXPECT_EQ(Resolve("bytes", SourcePurpose::kTokenizer).kind, Kind::kBytes);
  EXPECT_EQ(Resolve("bytes").kind, Kind::kModel);
}

TEST(Source, APathThatIsNotThereIsRefused) {
  for (const char* text : {"./missing.npz", "/nowhere/x/y", "a/b/c.npz"}) {
    EXPECT_EQ(ReasonOf(ResolveSource(text, SourcePurpose::kWeights).status()),
              Reason::kFileNotFound)
        << text;
  }
}

TEST(Source, AFolderGivesTheFilesOfAModel) {
  const TempFolder folder;
  for (const char* name :
       {"config.json", "generation_config.json", "model-00001-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "README.md", "training_args.bin", "notes.json"}) {
    folder.Write(name, "x");
  }
  const ResolvedSource source = Resolve(folder.path());
  EXPECT_EQ(Names(source), (std::vector<std::string>{
                               "chat_template.jinja", "config.json", "generation_config.json",
                               "model-00001-of-00002.safetensors", "model.safetensors.index.json",
                               "tokenizer.json", "tokenizer_config.json"}));
  EXPECT_FALSE(source.bare_weights);
  EXPECT_EQ(
      Names(Resolve(folder.path(), SourcePurpose::kTokenizer)),
      (std::vector<std::string>{"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}));
}

TEST(Source, AFolderGivesWeightsOfEveryKindThatTheServerReads) {
  for (const char* name :
       {"a.safetensors", "a.npz", "a.pt", "a.pth", "pytorch_model.bin", "a.gguf"}) {
    const TempFolder folder;
    folder.Write("config.json", "{}");
    folder.Write(name, "x");
    EXPECT_EQ(Resolve(folder.path()).kind, Kind::kFiles) << name;
    EXPECT_EQ(Names(Resolve(folder.path())).size(), 2u) << name;
  }
}

TEST(Source, AnNpzBringsItsMetaAndIsBare) {
  const TempFolder folder;
  const std::string npz = folder.Write("f.npz", "x");
  folder.Write("f.json", "{}");
  EXPECT_EQ(Names(Resolve(npz)), (std::vector<std::string>{"f.npz", "f.json"}));
  EXPECT_TRUE(Resolve(npz).bare_weights);
}

TEST(Source, AGgufSaysItsOwnShape) {
  const TempFolder folder;
  EXPECT_FALSE(Resolve(folder.Write("f.gguf", "x")).bare_weights);
}

TEST(Source, AFolderWithoutWeightsOrTokenizerIsRefused) {
  const TempFolder folder;
  folder.Write("config.json", "{}");
  EXPECT_EQ(ReasonOf(ResolveSource(folder.path(), SourcePurpose::kWeights).status()),
            Reason::kFileNotFound);
  EXPECT_EQ(ReasonOf(ResolveSource(folder.path(), SourcePurpose::kTokenizer).status()),
            Reason::kFileNotFound);
}

TEST(Source, AFolderWithoutAModelDoesNotHideTheServersModelOfItsName) {
  const TempFolder folder;
  folder.Write("bench/run.sh", "x");
  folder.Write("demo/model.safetensors", "x");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  for (const SourcePurpose purpose : {SourcePurpose::kWeights, SourcePurpose::kTokenizer}) {
    EXPECT_EQ(Resolve("bench", purpose).kind, Kind::kModel);
    EXPECT_EQ(Resolve("bench", purpose).name, "bench");
    EXPECT_EQ(ReasonOf(ResolveSource("./bench", purpose).status()), Reason::kFileNotFound);
    EXPECT_EQ(ReasonOf(ResolveSource(".", purpose).status()), Reason::kFileNotFound);
  }
  EXPECT_EQ(Resolve("demo").kind, Kind::kFiles);
  std::filesystem::current_path(before);
}

TEST(Source, AFolderOfMoreFilesThanTheLimitIsRefused) {
  const TempFolder folder;
  for (int i = 0; i < 64; ++i) folder.Write(std::to_string(i) + ".safetensors", "x");
  EXPECT_EQ(Resolve(folder.path()).files.size(), 64u);
  folder.Write("config.json", "{}");
  EXPECT_EQ(ReasonOf(ResolveSource(folder.path(), SourcePurpose::kWeights).status()),
            Reason::kInvalidArgument);
}

TEST(Source, DataFolderGivesTextAndJsonLines) {
  const TempFolder folder;
  folder.Write("b.jsonl", "x");
  folder.Write("a.txt", "x");
  folder.Write("c.md", "x");
  const auto files = DataFiles(folder.path());
  ASSERT_TRUE(files.ok());
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].name, "a.txt");
  EXPECT_FALSE(DataFiles(folder / "none.txt").ok());
}

TEST(Source, DataFolderGivesNdjsonAsTheServerReadsIt) {
  const TempFolder folder;
  folder.Write("a.ndjson", "x");
  const auto files = DataFiles(folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->at(0).name, "a.ndjson");
}

}  // namespace
}  // namespace lfm2
