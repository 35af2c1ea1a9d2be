#include "model/arch/model_folder.h"

#include "base/json.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModels[] = {"lfm2-tiny",       "lfm2-tiny-untied",    "hybrid-sequential",
                                   "hybrid-parallel", "hybrid-no-attention", "llama-tiny"};

// A copy of a golden model whose config can be changed.
class ModelCopy {
 public:
  explicit ModelCopy(const std::string& golden) {
    for (const auto& entry : fs::directory_iterator(Golden(golden))) {
      fs::copy_file(entry.path(), folder_ / entry.path().filename().string());
      fs::permissions(folder_ / entry.path().filename().string(), fs::perms::owner_all);
    }
    fs::remove(folder_ / "golden.npz");
  }
  ModelCopy& Set(const std::string& key, const Json& value) {
    Json config = *ParseJson(Slurp(folder_ / "config.json"));
    config[key] = value;
    Spill(folder_ / "config.json", config.dump());
    return *this;
  }
  // Writes the weights anew with `change` applied to them.
  template <typename Change>
  ModelCopy& Weights(Change change) {
    TensorArchive archive = *ReadSafetensors(folder_ / "model.safetensors");
    change(archive);
    EXPECT_TRUE(WriteSafetensors(folder_ / "new", archive.tensors, {}).ok());
    fs::rename(folder_ / "new", folder_ / "model.safetensors");
    return *this;
  }
  absl::StatusOr<ModelFolder> Open() const { return OpenModelFolder(folder_.path()); }
  absl::Status OpenAndCheck() const {
    const auto folder = Open();
    return folder.ok() ? CheckWeights(*folder->config, folder->weights) : folder.status();
  }
  const ScratchFolder& folder() const { return folder_; }

 private:
  ScratchFolder folder_;
};

TEST(ModelFolder, OpensEveryGoldenAndItsWeightsFitTheConfig) {
  for (const char* name : kModels) {
    const auto folder = OpenModelFolder(Golden(name));
    ASSERT_TRUE(folder.ok()) << name << ": " << folder.status();
    ASSERT_TRUE(folder->config.has_value());
    EXPECT_EQ(folder->format, "safetensors");
    EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok())
        << name << ": " << CheckWeights(*folder->config, folder->weights);
    const bool hybrid = std::string(name).rfind("hybrid", 0) == 0;
    EXPECT_EQ(folder->tokenizer_dir, hybrid ? fs::path() : Golden(name));
  }
}

TEST(ModelFolder, OpensABareWeightsFileOfEachFormat) {
  const auto safetensors = OpenModelFolder(Golden("formats/plain.safetensors"));
  ASSERT_TRUE(safetensors.ok()) << safetensors.status();
  EXPECT_FALSE(safetensors->config.has_value());
  EXPECT_EQ(OpenModelFolder(Golden("formats/arrays.npz"))->format, "npz");
  EXPECT_EQ(OpenModelFolder(Golden("formats/flat.pt"))->format, "pt");
}

TEST(ModelFolder, FallsBackToNpz) {
  const ModelCopy model("hybrid-sequential");
  const auto weights = ReadSafetensors(model.folder() / "model.safetensors");
  ASSERT_TRUE(WriteNpz(model.folder() / "model.npz", weights->tensors).ok());
  fs::remove(model.folder() / "model.safetensors");
  EXPECT_EQ(model.Open()->format, "npz");
  EXPECT_TRUE(model.OpenAndCheck().ok());
}

TEST(ModelFolder, AGgufAloneIsEnough) {
  const ScratchFolder folder;
  fs::copy_file(Golden("formats/llama-tiny.gguf"), folder / "a.gguf");
  auto opened = OpenModelFolder(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->format, "gguf");
  EXPECT_EQ(opened->tokenizer_dir, folder / "a.gguf");
  EXPECT_EQ(opened->weights_file, folder / "a.gguf");
  EXPECT_TRUE(CheckWeights(*opened->config, opened->weights).ok());
  Spill(folder / "tokenizer.json", "{}");
  EXPECT_EQ(OpenModelFolder(folder.path())->tokenizer_dir, folder.path());
  EXPECT_EQ(OpenModelFolder(folder / "a.gguf")->tokenizer_dir, folder.path());
  fs::copy_file(Golden("formats/llama-tiny.gguf"), folder / "b.gguf");
  EXPECT_SAYS("2 .gguf files, including a.gguf and b.gguf",
              OpenModelFolder(folder.path()).status());
}

TEST(ModelFolder, AConfigBesideAGgufIsTheOneThatCounts) {
  const ScratchFolder folder;
  fs::copy_file(Golden("formats/llama-tiny.gguf"), folder / "model.gguf");
  Json config = *ParseJson(Slurp(Golden("llama-tiny/config.json")));
  config["eos_token_id"] = {2, 0};
  Spill(folder / "config.json", config.dump());
  const auto opened = OpenModelFolder(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->config->eos_token_ids, (std::vector<int32_t>{2, 0}));
  EXPECT_TRUE(CheckWeights(*opened->config, opened->weights).ok());
  EXPECT_EQ(opened->tokenizer_dir, folder / "model.gguf");
  config["vocab_size"] = 299;
  Spill(folder / "config.json", config.dump());
  const auto other = OpenModelFolder(folder.path());
  EXPECT_REASON("WEIGHTS_MISMATCH", CheckWeights(*other->config, other->weights));
}

TEST(ModelFolder, SaysWhatIsMissing) {
  EXPECT_REASON("FILE_NOT_FOUND", OpenModelFolder(Golden("gone")).status());
  const ModelCopy no_config("lfm2-tiny");
  fs::remove(no_config.folder() / "config.json");
  EXPECT_SAYS("config.json", no_config.Open().status());
  const ModelCopy no_weights("lfm2-tiny");
  fs::remove(no_weights.folder() / "model.safetensors");
  EXPECT_REASON("FILE_NOT_FOUND", no_weights.Open().status());
  EXPECT_REASON("MODEL_FILE_INVALID",
                OpenModelFolder(Golden("lfm2-tiny/tokenizer_golden.jsonl")).status());
}

TEST(ModelFolder, AddsTheEosIdsOfTheGenerationConfig) {
  ModelCopy model("lfm2-tiny");
  Spill(model.folder() / "generation_config.json", R"({"eos_token_id": [7, 2]})");
  EXPECT_EQ(model.Open()->config->eos_token_ids, (std::vector<int32_t>{7, 2}));
  Spill(model.folder() / "generation_config.json", R"({"eos_token_id": 512})");
  EXPECT_REASON("CONFIG_INVALID", model.Open().status());
}

TEST(ModelFolder, TakesAConfigThatHoldsTheAdjustedWidthAlready) {
  // The weights have 160 rows; the formula would make 256 of it.
  ModelCopy model("lfm2-tiny");
  model.Set("block_auto_adjust_ff_dim", true);
  const auto folder = model.Open();
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->config->intermediate_size, 160);
  EXPECT_EQ(folder->config->formula_intermediate_size, 256);
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok());
}

TEST(ModelFolder, RefusesAWidthThatIsNeither) {
  ModelCopy model("lfm2-tiny");
  model.Set("block_auto_adjust_ff_dim", true).Set("intermediate_size", 1000);
  const absl::Status status = model.Open().status();
  EXPECT_REASON("WEIGHTS_MISMATCH", status);
  EXPECT_SAYS("160", status);
  EXPECT_SAYS("1000", status);
  EXPECT_SAYS("768", status);
}

TEST(ModelFolder, DropsAHeadThatRepeatsTheEmbedding) {
  ModelCopy model("lfm2-tiny");
  model.Weights([](TensorArchive& archive) {
    TensorView head = *archive.Find("model.embed_tokens.weight");
    head.name = "lm_head.weight";
    archive.tensors.push_back(head);
  });
  EXPECT_TRUE(model.OpenAndCheck().ok()) << model.OpenAndCheck();
  EXPECT_EQ(model.Open()->weights.Find("lm_head.weight"), nullptr);
}

TEST(ModelFolder, RefusesATiedHeadThatDiffers) {
  ModelCopy model("lfm2-tiny-untied");
  model.Set("tie_word_embeddings", true);
  const absl::Status status = model.OpenAndCheck();
  EXPECT_REASON("WEIGHTS_MISMATCH", status);
  EXPECT_SAYS("lm_head.weight differs", status);
}

TEST(CheckWeights, NamesMissingUnexpectedAndMisshapenTensors) {
  ModelCopy model("lfm2-tiny");
  model.Weights([](TensorArchive& archive) {
    for (TensorView& tensor : archive.tensors) {
      if (tensor.name == "model.embedding_norm.weight") tensor.name = "model.norm.weight";
      if (tensor.name == "model.layers.0.conv.in_proj.weight") tensor.shape = {64, 192};
    }
  });
  const absl::Status status = model.OpenAndCheck();
  EXPECT_REASON("WEIGHTS_MISMATCH", status);
  EXPECT_SAYS("3 tensors", status);
  EXPECT_SAYS("model.embedding_norm.weight is missing (expected [64])", status);
  EXPECT_SAYS("model.norm.weight [64] is not part of this model", status);
  EXPECT_SAYS("in_proj.weight is [64, 192], expected [192, 64]", status);
}

TEST(CheckWeights, NamesTheFirstTwentyOnly) {
  ModelConfig config = *OpenModelFolder(Golden("lfm2-tiny"))->config;
  const absl::Status status = CheckWeights(config, {});
  EXPECT_SAYS("and others", status);
  EXPECT_EQ(DetailsOf(status).metadata["tensors"], std::to_string(config.TensorSpecs().size()));
}

}  // namespace
}  // namespace lfm2
