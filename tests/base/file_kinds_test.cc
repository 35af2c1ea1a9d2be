#include "base/file_kinds.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(FileKinds, WeightsGoByTheirExtension) {
  EXPECT_EQ(WeightsFormatOf("model-00001-of-00002.safetensors"), WeightsFormat::kSafetensors);
  EXPECT_EQ(WeightsFormatOf("m.npz"), WeightsFormat::kNpz);
  for (const char* name : {"m.pt", "m.pth", "pytorch_model.bin"}) {
    EXPECT_EQ(WeightsFormatOf(name), WeightsFormat::kTorchPt) << name;
    EXPECT_TRUE(IsWeightsFile(name)) << name;
  }
  EXPECT_EQ(WeightsFormatOf("m.gguf"), WeightsFormat::kGguf);
  for (const char* name : {"npz", "m.npy", "m.NPZ", "m.npz.part", "model.safetensors.index.json"}) {
    EXPECT_FALSE(WeightsFormatOf(name).has_value()) << name;
    EXPECT_FALSE(IsWeightsFile(name)) << name;
  }
}

TEST(FileKinds, ATrainersArgumentsAreNotWeights) {
  EXPECT_FALSE(IsWeightsFile("training_args.bin"));
}

TEST(FileKinds, TheIndexOfShardsIsKnownByItsWholeEnd) {
  EXPECT_TRUE(IsWeightsIndexFile("model.safetensors.index.json"));
  EXPECT_FALSE(IsWeightsIndexFile("pytorch_model.bin.index.json"));
}

TEST(FileKinds, AMessageNamesEveryExtensionOfWeights) {
  EXPECT_EQ(WeightsExtensions(), ".safetensors, .npz, .pt, .pth, .bin or .gguf");
}

TEST(FileKinds, ATokenizerComesWithItsSidecars) {
  for (const std::string_view name : kTokenizerFiles) EXPECT_TRUE(IsTokenizerFile(name)) << name;
  for (const std::string_view name : kTokenizerSidecarFiles) {
    EXPECT_TRUE(IsTokenizerFile(name)) << name;
  }
  EXPECT_TRUE(IsTokenizerFile("tokenizer.v3.model"));
  for (const char* name : {"config.json", "spm.model", "tokenizer.txt", "my_tokenizer.json"}) {
    EXPECT_FALSE(IsTokenizerFile(name)) << name;
  }
}

TEST(FileKinds, TrainingTextIsPlainOrJsonLines) {
  for (const char* name : {"a.jsonl", "a.ndjson"}) {
    EXPECT_TRUE(IsJsonLinesFile(name)) << name;
    EXPECT_TRUE(IsDataFile(name)) << name;
  }
  EXPECT_TRUE(IsDataFile("a.txt"));
  EXPECT_FALSE(IsJsonLinesFile("a.txt"));
  for (const char* name : {"a.json", "txt", "a.md"}) EXPECT_FALSE(IsDataFile(name)) << name;
}

}  // namespace
}  // namespace lfm2
