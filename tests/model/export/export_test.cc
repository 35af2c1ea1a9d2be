#include "model/export/export.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>

#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "model/export/hf_folder.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

class ExportTest : public ::testing::Test {
 protected:
  ModelFolder Open(const char* name) {
    return OpenModelFolder(std::filesystem::path(LFM2_GOLDENS_DIR) / name).value();
  }

  // A model folder with weights of the given type.
  ModelFolder Make(const ModelConfig& config, at::ScalarType dtype) {
    const auto weights = Weights::Random(config, 3, at::kCPU, at::kFloat).value();
    std::vector<at::Tensor> tensors;
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : weights->tensors()) {
      tensors.push_back(tensor.to(dtype));
      views.push_back(AsView(name, tensors.back()).value());
    }
    const auto path = root_.path() / "model";
    std::filesystem::create_directories(path);
    EXPECT_TRUE(WriteHfFolder({config, views, {}}, path).ok());
    return OpenModelFolder(path).value();
  }

  ExportRequest Request(ExportFormat format) {
    ExportRequest request;
    request.format = format;
    request.destination = root_.path() / "export";
    request.model_name = "tiny";
    request.model_version = "3";
    request.tokenizer_sha256 = "abc";
    return request;
  }

  testing::TemporaryDirectory root_;
};

TEST_F(ExportTest, NpzHoldsEveryTensorAndTheMetaDescribesIt) {
  for (const char* name : {"lfm2-tiny", "hybrid-parallel"}) {
    const ModelFolder model = Open(name);
    ExportRequest request = Request(ExportFormat::kNpz);
    request.destination = root_.path() / name;
    const auto files = ExportModel(model, request, nullptr);
    ASSERT_TRUE(files.ok()) << files.status();
    ASSERT_EQ(files->size(), 2u);
    EXPECT_EQ((*files)[0].name, "model.json");
    EXPECT_EQ((*files)[1].name, "model.npz");
    EXPECT_EQ((*files)[1].sha256, Sha256OfFile(request.destination / "model.npz").value());

    const TensorArchive read = ReadNpz(request.destination / "model.npz").value();
    const Json meta =
        ParseJson(ReadFile(request.destination / "model.json", 1 << 20).value()).value();
    EXPECT_EQ(read.tensors.size(), model.config->TensorSpecs().size());
    EXPECT_EQ(meta["tensors"].size(), read.tensors.size());
    EXPECT_EQ(meta["npz"]["sha256"], (*files)[1].sha256);
    EXPECT_EQ(meta["npz"]["bytes"], (*files)[1].bytes);
    EXPECT_EQ(meta["model"]["name"], "tiny");
    EXPECT_EQ(meta["model"]["version"], "3");
    EXPECT_EQ(meta["tokenizer_sha256"], "abc");
    for (const TensorView& tensor : read.tensors) {
      const Json& entry = meta["tensors"][tensor.name];
      EXPECT_EQ(entry["shape"].get<std::vector<int64_t>>(), tensor.shape);
      EXPECT_EQ(entry["dtype"], "F32");
      EXPECT_EQ(entry["llama_cpp"], LlamaCppName(model.config->names(), tensor.name));
    }
    const auto config = ParseModelConfig(meta["config"].dump());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(ModelConfigToJson(*config), ModelConfigToJson(*model.config));
  }
}

TEST_F(ExportTest, NpzWidensBfloat16AndSaysSo) {
  const ModelFolder model = Make(testing::TinyHybrid(), at::kBFloat16);
  const ExportRequest request = Request(ExportFormat::kNpz);
  const auto files = ExportModel(model, request, nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 2u);
  const TensorArchive read = ReadNpz(request.destination / "model.npz").value();
  for (const TensorView& tensor : read.tensors) {
    EXPECT_EQ(tensor.dtype, DType::kF32);
    EXPECT_TRUE(
        at::equal(AsTensor(tensor), AsTensor(*model.weights.Find(tensor.name)).to(at::kFloat)));
  }
  const Json meta =
      ParseJson(ReadFile(request.destination / "model.json", 1 << 20).value()).value();
  EXPECT_EQ(meta["tensors"]["model.embed_tokens.weight"]["widened_from"], "BF16");
}

TEST_F(ExportTest, SafetensorsKeepsTypesBytesAndTokenizer) {
  const ModelFolder model = Open("lfm2-tiny");
  const ExportRequest request = Request(ExportFormat::kSafetensors);
  const auto files = ExportModel(model, request, nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const ExportedFile& file : *files) names.push_back(file.name);
  EXPECT_NE(std::find(names.begin(), names.end(), "tokenizer.json"), names.end());
  const auto folder = OpenModelFolder(request.destination);
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->weights.metadata.at("format"), "pt");
  for (const TensorSpec& spec : model.config->TensorSpecs()) {
    const TensorView& a = *model.weights.Find(spec.name);
    const TensorView& b = *folder->weights.Find(spec.name);
    EXPECT_EQ(a.dtype, b.dtype);
    ASSERT_EQ(a.bytes, b.bytes);
    EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes)), 0) << spec.name;
  }
}

TEST_F(ExportTest, BlockTypesAreWidenedInBothFormats) {
  const ModelFolder model = Open("formats/llama-tiny.gguf");
  for (ExportFormat format : {ExportFormat::kNpz, ExportFormat::kSafetensors}) {
    ExportRequest request = Request(format);
    request.destination += format == ExportFormat::kNpz ? "-npz" : "-safetensors";
    const auto files = ExportModel(model, request, nullptr);
    ASSERT_TRUE(files.ok()) << files.status();
    const TensorArchive read = format == ExportFormat::kNpz
                                   ? ReadNpz(request.destination / "model.npz").value()
                                   : OpenModelFolder(request.destination)->weights;
    EXPECT_EQ(read.tensors.size(), model.weights.tensors.size());
    for (const TensorView& tensor : read.tensors) {
      EXPECT_FALSE(IsBlockType(tensor.dtype));
      EXPECT_TRUE(at::equal(AsTensor(tensor).to(at::kFloat),
                            AsTensor(*model.weights.Find(tensor.name)).to(at::kFloat)))
          << tensor.name;
    }
    EXPECT_FALSE(std::filesystem::exists(request.destination / "spool"));
  }
  const auto meta =
      ParseJson(ReadFile(root_.path() / "export-npz" / "model.json", 1 << 20).value());
  EXPECT_EQ((*meta)["tensors"]["model.embed_tokens.weight"]["widened_from"], "Q8_0");
  EXPECT_EQ((*meta)["tensors"]["model.embed_tokens.weight"]["dtype"], "F32");
}

TEST_F(ExportTest, CountsEachTensorTwice) {
  const ModelFolder model = Open("hybrid-parallel");
  for (ExportFormat format : {ExportFormat::kNpz, ExportFormat::kSafetensors}) {
    ExportRequest request = Request(format);
    request.destination += format == ExportFormat::kNpz ? "-npz" : "-safetensors";
    int64_t calls = 0, total = 0;
    ASSERT_TRUE(ExportModel(model, request, [&](int64_t done, int64_t all) {
                  EXPECT_EQ(done, ++calls);
                  total = all;
                }).ok());
    EXPECT_EQ(calls, total);
    EXPECT_EQ(total, 2 * static_cast<int64_t>(model.config->TensorSpecs().size()));
  }
}

TEST_F(ExportTest, RefusesADestinationThatIsThereAndAModelThatDoesNotFitItsConfig) {
  ModelFolder model = Open("hybrid-parallel");
  const ExportRequest request = Request(ExportFormat::kNpz);
  std::filesystem::create_directories(request.destination);
  EXPECT_EQ(DetailsOf(ExportModel(model, request, nullptr).status()).reason, Reason::kModelExists);
  std::filesystem::remove(request.destination);
  model.weights.tensors.pop_back();
  EXPECT_EQ(DetailsOf(ExportModel(model, request, nullptr).status()).reason,
            Reason::kWeightsMismatch);
  model.config.reset();
  EXPECT_EQ(DetailsOf(ExportModel(model, request, nullptr).status()).reason,
            Reason::kConfigInvalid);
  EXPECT_FALSE(std::filesystem::exists(request.destination));
  EXPECT_FALSE(std::filesystem::exists(root_.path() / ".tmp-export"));
}

// The source changes under the export, as a failing disk or memory would have it: seen by the
// comparison.
TEST_F(ExportTest, ADifferenceFoundOnReadingBackNamesTheTensorAndLeavesNothing) {
  ModelFolder model = Open("hybrid-parallel");
  for (ExportFormat format : {ExportFormat::kNpz, ExportFormat::kSafetensors}) {
    const std::string victim = "model.layers.1.ssm.D";
    std::vector<std::byte> bytes;
    for (TensorView& view : model.weights.tensors) {
      if (view.name != victim) continue;
      bytes.assign(view.data, view.data + view.bytes);
      view.data = bytes.data();
    }
    const auto count = static_cast<int64_t>(model.config->TensorSpecs().size());
    const ExportRequest request = Request(format);
    const absl::Status status = ExportModel(model, request, [&](int64_t done, int64_t) {
                                  if (done == count + 1) bytes[5] ^= std::byte{1};
                                }).status();
    EXPECT_EQ(DetailsOf(status).reason, Reason::kExportMismatch) << status;
    EXPECT_EQ(DetailsOf(status).metadata.at("tensor"), victim);
    EXPECT_FALSE(std::filesystem::exists(request.destination));
    EXPECT_FALSE(std::filesystem::exists(root_.path() / ".tmp-export"));
    model = Open("hybrid-parallel");
  }
}

}  // namespace
}  // namespace lfm2
