// The engine over the GPU's decode path, run on the host (tests/model/cuda/host/host_library.h),
// beside the same engine over LibTorch alone.
#include <gtest/gtest.h>

#include <cstring>

#include "base/errors.h"
#include "model/formats/npz.h"
#include "server/engine/engine.h"
#include "server/torch/torch_runner.h"
#include "tests/model/cuda/host/host_library.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = LFM2_GOLDENS_DIR;

std::shared_ptr<LoadedModel> Golden(const std::string& name, bool kernels,
                                    int64_t kv_bytes = 1 << 20) {
  TorchOptions options{"cpu", "float32", 2, kv_bytes};
  if (kernels) options.kernels = &HostCudaFunctions();
  auto loader = MakeTorchModelLoader(options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  ModelVersion version;
  version.name = name;
  version.version = "v1";
  version.directory = kGoldens / name;
  auto model = (*loader)(version);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.value_or(nullptr);
}

// Empty where the golden has no such array.
std::vector<int32_t> Integers(const std::string& model, const std::string& name) {
  const TensorArchive archive = ReadNpz(kGoldens / model / "golden.npz").value();
  const TensorView* view = archive.Find(name);
  if (view == nullptr) return {};
  std::vector<int64_t> wide(static_cast<size_t>(view->bytes) / sizeof(int64_t));
  std::memcpy(wide.data(), view->data, static_cast<size_t>(view->bytes));
  return {wide.begin(), wide.end()};
}

GenerateRequest Request(const std::shared_ptr<LoadedModel>& model, size_t prompt_tokens,
                        int64_t max_new_tokens) {
  GenerateRequest request;
  request.model = model;
  request.prompt = Integers(model->name, "tokens");
  request.prompt.resize(prompt_tokens);
  request.max_new_tokens = max_new_tokens;
  request.ignore_eos = true;
  return request;
}

struct Answer {
  absl::Status status;
  std::vector<int32_t> ids;
};

// All at once, in steps of few tokens.
std::vector<Answer> Generate(const std::vector<GenerateRequest>& requests) {
  Limits limits;
  limits.step_tokens = 6;
  Engine engine(limits, Clock::Real());
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const GenerateRequest& request : requests) {
    sinks.push_back(std::make_shared<RecordingSink>());
    EXPECT_TRUE(engine.Submit(request, sinks.back()).ok());
  }
  std::vector<Answer> answers;
  for (const auto& sink : sinks) {
    const absl::Status status = sink->Wait().status;
    answers.push_back({status, sink->ids()});
  }
  return answers;
}

class CudaRunner : public testing::TestWithParam<const char*> {};

// The reference is transformers, where it has the class, else LibTorch's runner.
TEST_P(CudaRunner, GeneratesTheReferencesGreedyTokens) {
  const auto model = Golden(GetParam(), true);
  EXPECT_EQ(model->isa, "cuda");
  std::vector<int32_t> expected = Integers(GetParam(), "greedy");
  if (expected.empty()) expected = Generate({Request(Golden(GetParam(), false), 4, 32)})[0].ids;
  ASSERT_GE(expected.size(), 8U);
  const auto length = static_cast<int64_t>(expected.size());
  const std::vector<Answer> answers =
      Generate({Request(model, 4, length), Request(model, 4, length), Request(model, 4, length)});
  for (const Answer& answer : answers) {
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_EQ(answer.ids, expected);
  }
  EXPECT_EQ(model->runner->blocks().in_use, 0);
}

TEST_P(CudaRunner, DrawsWhatLibTorchsRunnerDraws) {
  std::vector<std::vector<int32_t>> ids;
  for (const bool kernels : {false, true}) {
    const auto model = Golden(GetParam(), kernels);
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < 9; ++i) {
      GenerateRequest request = Request(model, 3 + i, 24);
      request.sampling.temperature = 0.9;
      request.sampling.top_k = i % 2 == 0 ? 0 : 20;
      request.sampling.top_p = i % 3 == 0 ? 1.0 : 0.9;
      request.sampling.min_p = i % 4 == 0 ? 0.02 : 0.0;
      request.sampling.repetition_penalty = i % 5 == 0 ? 1.2 : 1.0;
      request.sampling.logprobs = i == 7 ? 3 : -1;
      request.sampling.frequency_penalty = i == 4 ? 0.7 : 0.0;
      request.sampling.presence_penalty = i == 5 ? 1.5 : 0.0;
      if (i == 6) request.sampling.logit_bias = {{3, 4.0}, {5, -100.0}};
      request.sampling.seed = 100 + i;
      requests.push_back(request);
    }
    std::vector<int32_t> all;
    for (const Answer& answer : Generate(requests)) {
      EXPECT_TRUE(answer.status.ok()) << answer.status;
      all.insert(all.end(), answer.ids.begin(), answer.ids.end());
    }
    ids.push_back(all);
  }
  EXPECT_EQ(ids[0].size(), 9U * 24U);
  EXPECT_EQ(ids[0], ids[1]);
}

TEST_P(CudaRunner, ScoresAsLibTorchsRunnerDoes) {
  const auto tokens = Integers(GetParam(), "tokens");
  const auto plain = Golden(GetParam(), false)->runner->Score(tokens);
  const auto kernels = Golden(GetParam(), true)->runner->Score(tokens);
  ASSERT_TRUE(plain.ok() && kernels.ok()) << plain.status() << kernels.status();
  ASSERT_EQ(plain->size(), kernels->size());
  for (size_t i = 0; i < plain->size(); ++i) EXPECT_NEAR((*plain)[i], (*kernels)[i], 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaRunner,
                         testing::Values("lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential",
                                         "hybrid-parallel", "hybrid-no-attention", "llama-tiny"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(CudaRunnerMemory, ASequenceWaitsForItsBlocksAndWhatNeverHasThemIsRefused) {
  const auto probe = Golden("lfm2-tiny", true);
  const int64_t block = (1 << 20) / probe->runner->blocks().limit;
  const auto model = Golden("lfm2-tiny", true, 3 * block);
  ASSERT_EQ(model->runner->blocks().limit, 3);
  const std::vector<Answer> answers =
      Generate({Request(model, 4, 20), Request(model, 4, 20), Request(model, 4, 80)});
  EXPECT_TRUE(answers[0].status.ok()) << answers[0].status;
  EXPECT_TRUE(answers[1].status.ok()) << answers[1].status;
  EXPECT_TRUE(answers[2].status.ok()) << answers[2].status;
  EXPECT_EQ(answers[2].ids.size(), 80U);
  Engine engine(Limits(), Clock::Real());
  const absl::Status refused =
      engine.Submit(Request(model, 4, 200), std::make_shared<RecordingSink>());
  EXPECT_EQ(DetailsOf(refused).reason, Reason::kContextExceeded) << refused;
  EXPECT_EQ(model->runner->blocks().in_use, 0);
}

// A GPU that the library holds no code for.
TEST(CudaRunnerOpen, WithoutKernelsForThisGpuLibTorchDecodes) {
  HostCudaState().fail_open = 209;  // cudaErrorNoKernelImageForDevice
  const auto model = Golden("lfm2-tiny", true);
  HostCudaState().fail_open = 0;
  ASSERT_NE(model, nullptr);
  EXPECT_NE(model->isa, "cuda");
  const Answer plain = Generate({Request(Golden("lfm2-tiny", false), 4, 16)})[0];
  const Answer answer = Generate({Request(model, 4, 16)})[0];
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.ids, plain.ids);
}

TEST(CudaRunnerOpen, NoMemoryIsAnErrorOfTheLoad) {
  TorchOptions options{"cpu", "float32", 2, 1 << 20, &HostCudaFunctions()};
  ModelVersion version;
  version.name = "lfm2-tiny";
  version.directory = kGoldens / "lfm2-tiny";
  HostCudaState().fail_open = kLfm2CudaOutOfMemory;
  const auto model = (*MakeTorchModelLoader(options))(version);
  HostCudaState().fail_open = 0;
  EXPECT_EQ(DetailsOf(model.status()).reason, Reason::kGpuOutOfMemory) << model.status();
}

TEST(CudaRunnerMemory, ATooSmallPoolIsRefusedAtTheLoad) {
  TorchOptions options{"cpu", "float32", 2, 10, &HostCudaFunctions()};
  ModelVersion version;
  version.name = "lfm2-tiny";
  version.directory = kGoldens / "lfm2-tiny";
  const auto model = (*MakeTorchModelLoader(options))(version);
  EXPECT_EQ(DetailsOf(model.status()).reason, Reason::kConfigInvalid) << model.status();
}

}  // namespace
}  // namespace lfm2
