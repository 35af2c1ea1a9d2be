#include "server/torch/torch_runner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/errors.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "server/engine/engine.h"
#include "tests/server/engine/golden_model.h"
#include "tests/server/fakes/recording_sink.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = LFM2_GOLDENS_DIR;

absl::StatusOr<std::shared_ptr<LoadedModel>> Load(const fs::path& directory,
                                                  const TorchOptions& options = {"cpu", "float32",
                                                                                 2}) {
  return LoadWith(MakeTorchModelLoader(options), directory);
}

std::shared_ptr<LoadedModel> Golden(const std::string& name) {
  auto model = Load(kGoldens / name);
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

TensorArchive GoldenValues(const std::string& name) {
  return ReadNpz(kGoldens / name / "golden.npz").value();
}

std::vector<int32_t> Integers(const TensorArchive& archive, const std::string& name) {
  const TensorView* view = archive.Find(name);
  std::vector<int64_t> wide(static_cast<size_t>(view->bytes) / sizeof(int64_t));
  std::memcpy(wide.data(), view->data, static_cast<size_t>(view->bytes));
  return {wide.begin(), wide.end()};
}

std::vector<float> Floats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.bytes) / sizeof(float));
  std::memcpy(values.data(), view.data, static_cast<size_t>(view.bytes));
  return values;
}

std::unique_ptr<RunnerState> NewStateOf(LoadedModel& model) {
  const std::vector<int32_t> prompt = {1};
  return std::move(model.runner->Start({prompt, {}, true}).value().state);
}

std::vector<int32_t> Prefix(const std::vector<int32_t>& tokens, size_t size) {
  return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(size)};
}

GenerateRequest Request(const std::shared_ptr<LoadedModel>& model, std::vector<int32_t> prompt,
                        int64_t max_new_tokens) {
  GenerateRequest request;
  request.model = model;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  request.ignore_eos = true;
  return request;
}

// Runs all of them at once.
std::vector<std::vector<int32_t>> Generate(const Limits& limits,
                                           const std::vector<GenerateRequest>& requests) {
  Engine engine(limits, Clock::Real());
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const GenerateRequest& request : requests) {
    sinks.push_back(std::make_shared<RecordingSink>());
    EXPECT_TRUE(engine.Submit(request, sinks.back()).ok());
  }
  std::vector<std::vector<int32_t>> ids;
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->Wait().status.ok()) << sink->Wait().status;
    ids.push_back(sink->ids());
  }
  return ids;
}

Limits SmallSteps() {
  Limits limits;
  limits.step_tokens = 3;
  return limits;
}

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, GeneratesTheReferencesGreedyTokensAlone) {
  const auto model = Golden(GetParam());
  const TensorArchive golden = GoldenValues(GetParam());
  const auto prompt = Prefix(Integers(golden, "tokens"), 4);
  const auto ids = Generate(Limits(), {Request(model, prompt, 32)});
  EXPECT_EQ(ids[0], Integers(golden, "greedy"));
}

TEST_P(GoldenModel, GeneratesThemEightAtOnceWithSmallChunks) {
  const auto model = Golden(GetParam());
  const TensorArchive golden = GoldenValues(GetParam());
  const auto greedy = Integers(golden, "greedy");
  std::vector<GenerateRequest> requests;
  std::vector<size_t> known;  // generated tokens that the prompt holds already
  for (size_t i = 0; i < 8; ++i) {
    auto prompt = Prefix(Integers(golden, "tokens"), 4);
    prompt.insert(prompt.end(), greedy.begin(),
                  greedy.begin() + static_cast<std::ptrdiff_t>(i * 3));
    requests.push_back(Request(model, prompt, static_cast<int64_t>(32 - i * 3)));
    known.push_back(i * 3);
  }
  const auto ids = Generate(SmallSteps(), requests);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(ids[i], std::vector<int32_t>(greedy.begin() + static_cast<std::ptrdiff_t>(known[i]),
                                           greedy.end()))
        << i;
  }
}

TEST_P(GoldenModel, ProbesAndScoresWhatTheReferenceComputes) {
  const auto model = Golden(GetParam());
  const TensorArchive golden = GoldenValues(GetParam());
  const auto tokens = Integers(golden, "tokens");
  const std::vector<float> expected = Floats(*golden.Find("logits"));
  const auto report = model->runner->Probe(tokens, {.values = true, .all_logits = true});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->logits.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(report->logits[i], expected[i], 1e-4);
  const auto scores = model->runner->Score(tokens);
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), tokens.size() - 1);
  const size_t width = expected.size() / tokens.size();
  double sum = 0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const std::span<const float> row(expected.data() + i * width, width);
    EXPECT_NEAR((*scores)[i], LogProbability(row, tokens[i + 1]), 1e-4) << i;
    sum += (*scores)[i];
  }
  double loss = 0;
  std::memcpy(&loss, golden.Find("loss")->data, sizeof(loss));
  EXPECT_NEAR(-sum / static_cast<double>(scores->size()), loss, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Lfm2, GoldenModel, testing::Values("lfm2-tiny", "lfm2-tiny-untied"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(TorchRunner, ScoresTheSameInSeveralChunksAsInOne) {
  const auto model = Golden("lfm2-tiny");
  std::vector<int32_t> tokens;
  for (int i = 0; i < 500; ++i) tokens.push_back((i * 37 + i * i) % 512);
  const auto all = model->runner->Score(tokens).value();
  ASSERT_EQ(all.size(), 499U);
  const auto report = model->runner->Probe(tokens, {.all_logits = true}).value();
  const std::span<const float> logits = report.logits;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(all[i], LogProbability(logits.subspan(i * 512, 512), tokens[i + 1]), 1e-4) << i;
  }
  EXPECT_TRUE(model->runner->Score(std::vector<int32_t>{1}).value().empty());
}

TEST(TorchRunner, GivesTheSameTokensForASeedAtAnyLoad) {
  const auto model = Golden("lfm2-tiny");
  std::vector<GenerateRequest> requests;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    auto request = Request(model, {1, 2, 3, static_cast<int32_t>(10 + seed)}, 24);
    request.sampling.temperature = 1.0;
    request.sampling.top_k = 50;
    request.sampling.seed = seed;
    requests.push_back(std::move(request));
  }
  const auto together = Generate(SmallSteps(), requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(Generate(Limits(), {requests[i]})[0], together[i]) << i;
  }
  EXPECT_NE(together[0], together[1]);
}

TEST(TorchRunner, ServesEveryHybridWithBytesWhereTheFolderHasNoTokenizer) {
  for (const char* name : {"hybrid-no-attention", "hybrid-parallel", "hybrid-sequential"}) {
    const auto model = Golden(name);
    EXPECT_EQ(model->tokenizer->kind(), "bytes");
    EXPECT_LE(model->tokenizer->vocab_size(), model->config.vocab_size);
    const auto alone = Generate(Limits(), {Request(model, {72, 105, 33, 10, 65}, 16)});
    const auto chunked = Generate(SmallSteps(), {Request(model, {72, 105, 33, 10, 65}, 16),
                                                 Request(model, {72, 105, 33, 10, 65}, 16)});
    EXPECT_EQ(chunked[0], alone[0]) << name;
    EXPECT_EQ(chunked[1], alone[0]) << name;
  }
}

TEST(TorchRunner, FailsOnlyTheItemWhoseTokenIsOutOfRange) {
  const auto model = Golden("lfm2-tiny");
  const auto good = NewStateOf(*model), bad = NewStateOf(*model);
  const SamplingParams sampling;
  const std::vector<int32_t> fine = {1, 2}, high = {1, 512}, negative = {-1};
  for (const auto& wrong : {high, negative}) {
    const auto outputs =
        model->runner->Step(std::vector<StepItem>{{bad.get(), wrong, true, &sampling, wrong, 0},
                                                  {good.get(), fine, true, &sampling, fine, 0}});
    EXPECT_EQ(DetailsOf(outputs[0].status).reason, Reason::kInvalidArgument);
    EXPECT_TRUE(outputs[1].status.ok());
    EXPECT_TRUE(outputs[1].sample.has_value());
  }
  EXPECT_FALSE(model->runner->Score(high).ok());
  EXPECT_FALSE(model->runner->Probe(high, {}).ok());
}

TEST(TorchRunner, TurnsWhatLibTorchThrowsIntoAStatus) {
  const auto model = Golden("lfm2-tiny");
  const auto state = NewStateOf(*model);
  const SamplingParams sampling;
  const std::vector<int32_t> tokens = {1, 2};
  const StepItem item = {state.get(), tokens, true, &sampling, tokens, 0};
  // Two items must not share a state.
  const auto outputs = model->runner->Step(std::vector<StepItem>{item, item});
  for (const StepOutput& output : outputs) {
    EXPECT_EQ(DetailsOf(output.status).reason, Reason::kInternal);
    EXPECT_EQ(output.status.message().find('/'), std::string::npos);
  }
}

TEST(TorchRunner, SamplesNothingForAChunkThatIsNotTheLast) {
  const auto model = Golden("lfm2-tiny");
  const auto state = NewStateOf(*model);
  const SamplingParams sampling;
  const std::vector<int32_t> tokens = {1, 2, 3};
  const auto outputs = model->runner->Step(
      std::vector<StepItem>{{state.get(), tokens, false, &sampling, tokens, 0}});
  EXPECT_TRUE(outputs[0].status.ok());
  EXPECT_FALSE(outputs[0].sample.has_value());
}

// A copy of the tiny model whose embedding of `token` is not a number; tied, so its logit is one of
// no sequence's.
void WriteModelWithNan(const fs::path& directory, int64_t token) {
  const TensorArchive archive =
      ReadSafetensors(kGoldens / "lfm2-tiny-untied" / "model.safetensors").value();
  std::vector<TensorView> tensors = archive.tensors;
  std::vector<float> embedding;
  for (TensorView& view : tensors) {
    if (view.name != "model.embed_tokens.weight") continue;
    embedding = Floats(view);
    const auto width = static_cast<size_t>(view.shape[1]);
    embedding[static_cast<size_t>(token) * width] = std::nanf("");
    view.data = reinterpret_cast<const std::byte*>(embedding.data());
  }
  fs::create_directories(directory);
  ASSERT_TRUE(WriteSafetensors(directory / "model.safetensors", tensors, {}).ok());
  for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    fs::copy_file(kGoldens / "lfm2-tiny-untied" / file, directory / file);
  }
}

TEST(TorchRunner, EndsOnlyTheSequenceWhoseLogitsAreNotFinite) {
  TempDirectory directory;
  WriteModelWithNan(directory.path() / "nan", 300);
  const auto model = Load(directory.path() / "nan");
  ASSERT_TRUE(model.ok()) << model.status();
  Engine engine(Limits(), Clock::Real());
  auto bad = std::make_shared<RecordingSink>(), good = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(*model, {1, 300, 2}, 4), bad).ok());
  ASSERT_TRUE(engine.Submit(Request(*model, {1, 2, 3}, 1), good).ok());
  EXPECT_EQ(DetailsOf(bad->Wait().status).reason, Reason::kInternal);
  EXPECT_NE(bad->Wait().status.message().find("not finite"), std::string::npos);
  EXPECT_TRUE(good->Wait().status.ok()) << good->Wait().status;
  EXPECT_FALSE((*model)->runner->Score(std::vector<int32_t>{1, 300, 2}).ok());
}

TEST(TorchModelLoader, SaysWhatWasLoaded) {
  const auto model = Golden("lfm2-tiny");
  EXPECT_EQ(model->name, "lfm2-tiny");
  EXPECT_EQ(model->version, "v1");
  EXPECT_EQ(model->dtype, "float32");
  EXPECT_EQ(model->device, "cpu");
  EXPECT_EQ(model->bytes, 4 * model->config.ParameterCount());
  EXPECT_EQ(model->tokenizer->kind(), "bpe");
  EXPECT_EQ(model->ContextLength(7), 512);
}

TEST(TorchModelLoader, ServesBfloat16WhenAskedTo) {
  const auto model = Load(kGoldens / "lfm2-tiny", {"cpu", "bfloat16", 2});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->dtype, "bfloat16");
  EXPECT_EQ(Generate(Limits(), {Request(*model, {1, 2, 3, 4}, 8)})[0].size(), 8U);
}

TEST(TorchModelLoader, RefusesWhatItCannotServe) {
  TempDirectory directory;
  EXPECT_FALSE(Load(directory.path() / "absent").ok());
  EXPECT_EQ(DetailsOf(Load(kGoldens / "lfm2-tiny", {"tpu", "auto", 0}).status()).reason,
            Reason::kInvalidArgument);
  EXPECT_EQ(DetailsOf(Load(kGoldens / "lfm2-tiny", {"cuda:99", "auto", 0}).status()).reason,
            Reason::kDeviceUnavailable);
  const fs::path other = directory.path() / "other";
  fs::copy(kGoldens / "lfm2-tiny", other, fs::copy_options::recursive);
  fs::copy_file(kGoldens / "hybrid-parallel" / "model.safetensors", other / "model.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(DetailsOf(Load(other).status()).reason, Reason::kWeightsMismatch);
}

}  // namespace
}  // namespace lfm2
