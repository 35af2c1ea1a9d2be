// The CPU's runner and loader, alone and under the engine, with the golden models.
#include "server/engine/cpu_runner.h"

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

std::shared_ptr<LoadedModel> Golden(const std::string& name, const std::string& weights = "auto") {
  CpuLoaderOptions options;
  options.weights = weights;
  options.threads = 2;
  return GoldenModel(name, options);
}

std::vector<int32_t> GoldenIds(const std::string& model, const std::string& key) {
  const TensorArchive archive = ReadNpz(kGoldens / model / "golden.npz").value();
  const TensorView* view = archive.Find(key);
  std::vector<int64_t> wide(static_cast<size_t>(view->bytes) / sizeof(int64_t));
  std::memcpy(wide.data(), view->data, static_cast<size_t>(view->bytes));
  return {wide.begin(), wide.end()};
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

// All of them at once.
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

std::unique_ptr<RunnerState> Fresh(LoadedModel& model, bool use_cache = false) {
  const int32_t token = 1;
  auto fresh = model.runner->Start({{&token, 1}, {}, use_cache});
  EXPECT_TRUE(fresh.ok()) << fresh.status();
  return std::move(fresh->state);
}

StepItem ItemOf(RunnerState& state, std::span<const int32_t> tokens, bool sample = true) {
  static const SamplingParams kGreedy;
  StepItem item;
  item.state = &state;
  item.tokens = tokens;
  item.sample = sample;
  item.sampling = &kGreedy;
  item.history = tokens;
  return item;
}

StepOutput StepOne(LoadedModel& model, RunnerState& state, std::span<const int32_t> tokens,
                   bool sample = true) {
  const StepItem item = ItemOf(state, tokens, sample);
  return model.runner->Step({&item, 1})[0];
}

TEST(CpuRunner, GeneratesTheReferencesGreedyTokensAlone) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied"}) {
    std::vector<int32_t> prompt = GoldenIds(name, "tokens");
    prompt.resize(4);
    EXPECT_EQ(Generate(Limits(), {Request(Golden(name), prompt, 32)})[0],
              GoldenIds(name, "greedy"));
  }
}

TEST(CpuRunner, ScoresWhatItsProbeSaysInOneChunkOrSeveral) {
  const auto model = Golden("lfm2-tiny");
  std::vector<int32_t> tokens;
  for (int i = 0; i < 300; ++i) tokens.push_back((i * 37 + i * i) % 512);
  const std::vector<float> scores = model->runner->Score(tokens).value();
  ASSERT_EQ(scores.size(), 299U);
  const ParityReport report = model->runner->Probe(tokens, {.all_logits = true}).value();
  const std::span<const float> logits = report.logits;
  for (size_t i = 0; i < scores.size(); ++i) {
    EXPECT_EQ(scores[i], LogProbability(logits.subspan(i * 512, 512), tokens[i + 1])) << i;
  }
  const auto state = Fresh(*model);
  std::vector<float> pieces;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += 7) {
    const size_t size = std::min<size_t>(8, tokens.size() - begin);
    const auto piece =
        model->runner->ScoreChunk(*state, std::span(tokens).subspan(begin, size)).value();
    pieces.insert(pieces.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(pieces, scores);
}

TEST(CpuRunner, FailsOnlyTheItemWhoseTokenIsOutOfRange) {
  const auto model = Golden("lfm2-tiny");
  const std::vector<int32_t> fine = {1, 2}, high = {1, 512}, negative = {-1}, none;
  for (const auto& wrong : {high, negative, none}) {
    const auto good = Fresh(*model), bad = Fresh(*model);
    const auto outputs =
        model->runner->Step(std::vector<StepItem>{ItemOf(*bad, wrong), ItemOf(*good, fine)});
    EXPECT_EQ(DetailsOf(outputs[0].status).reason, Reason::kInvalidArgument);
    EXPECT_EQ(outputs[0].scope, FaultScope::kItem);
    EXPECT_TRUE(outputs[1].status.ok());
    EXPECT_TRUE(outputs[1].sample.has_value());
  }
  EXPECT_FALSE(model->runner->Score(high).ok());
  EXPECT_FALSE(model->runner->Probe(high, {}).ok());
  EXPECT_FALSE(model->runner->Probe(none, {}).ok());
}

TEST(CpuRunner, SamplesNothingForAChunkThatIsNotTheLast) {
  const auto model = Golden("lfm2-tiny");
  const auto state = Fresh(*model);
  const std::vector<int32_t> tokens = {1, 2, 3};
  const StepOutput output = StepOne(*model, *state, tokens, /*sample=*/false);
  EXPECT_TRUE(output.status.ok());
  EXPECT_FALSE(output.sample.has_value());
}

TEST(CpuRunner, ALongChunkIsCutWithoutAnyoneNoticing) {
  const auto model = Golden("lfm2-tiny");
  std::vector<int32_t> tokens;
  for (int i = 0; i < 1300; ++i) tokens.push_back(i * 11 % 512);
  const auto whole = Fresh(*model), cut = Fresh(*model);
  const StepOutput at_once = StepOne(*model, *whole, tokens);
  StepOutput last;
  for (size_t at = 0; at < tokens.size(); at += 100) {
    last = StepOne(*model, *cut, std::span(tokens).subspan(at, 100));
  }
  ASSERT_TRUE(at_once.sample.has_value());
  EXPECT_EQ(at_once.sample->id, last.sample->id);
}

TEST(CpuRunner, FailsOnlyTheItemThatFindsNoMemory) {
  CpuLoaderOptions options;
  options.runner.kv_bytes = 1;  // one block
  const auto model = *LoadForCpu(kGoldens / "lfm2-tiny", options);
  const auto small = Fresh(*model), large = Fresh(*model);
  const std::vector<int32_t> two = {1, 2}, many(40, 3);
  const auto outputs =
      model->runner->Step(std::vector<StepItem>{ItemOf(*small, two), ItemOf(*large, many)});
  EXPECT_TRUE(outputs[0].status.ok()) << outputs[0].status;
  EXPECT_EQ(DetailsOf(outputs[1].status).reason, Reason::kOutOfMemory);
  EXPECT_EQ(outputs[1].scope, FaultScope::kItem);
}

TEST(CpuRunner, ARetiredSequenceIsFoundAgainByItsTenantAlone) {
  const auto model = Golden("lfm2-tiny");
  std::vector<int32_t> tokens(50, 7);
  auto state = Fresh(*model, /*use_cache=*/true);
  ASSERT_TRUE(StepOne(*model, *state, tokens).status.ok());
  EXPECT_EQ(model->runner->blocks().in_use, 2);
  model->runner->Retire(std::move(state), tokens, "one");
  EXPECT_EQ(model->runner->blocks().in_use, 0);
  EXPECT_EQ(model->runner->blocks().cached, 2);
  tokens.push_back(8);
  EXPECT_EQ(model->runner->Start({tokens, "one", true})->reuse.cached_tokens, 50);
  EXPECT_EQ(model->runner->Start({tokens, "two", true})->reuse.miss, PrefixMiss::kEmpty);
  EXPECT_EQ(model->runner->Start({tokens, "one", false})->reuse.miss, PrefixMiss::kDisabled);
}

// A copy of a tiny model with one weight that is not a number.
void WriteModelWithNan(const fs::path& directory) {
  const fs::path from = kGoldens / "lfm2-tiny-untied";
  TensorArchive archive = ReadSafetensors(from / "model.safetensors").value();
  std::vector<float> taps;
  for (TensorView& view : archive.tensors) {
    if (view.name != "model.layers.0.conv.conv.weight") continue;
    taps.resize(static_cast<size_t>(view.bytes) / sizeof(float));
    std::memcpy(taps.data(), view.data, static_cast<size_t>(view.bytes));
    taps[3] = std::nanf("");
    view.data = reinterpret_cast<const std::byte*>(taps.data());
  }
  fs::create_directories(directory);
  ASSERT_TRUE(WriteSafetensors(directory / "model.safetensors", archive.tensors, {}).ok());
  for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    fs::copy_file(from / file, directory / file);
  }
}

TEST(CpuRunner, SaysThatLogitsAreNotFiniteForThatItem) {
  TempDirectory directory;
  WriteModelWithNan(directory.path() / "nan");
  const auto model = LoadForCpu(directory.path() / "nan");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto state = Fresh(**model);
  const StepOutput output = StepOne(**model, *state, std::vector<int32_t>{1, 2});
  EXPECT_EQ(DetailsOf(output.status).reason, Reason::kInternal);
  EXPECT_EQ(output.scope, FaultScope::kItem);
  EXPECT_NE(output.status.message().find("not finite"), std::string::npos);
  EXPECT_FALSE((*model)->runner->Score(std::vector<int32_t>{1, 2, 3}).ok());
}

TEST(CpuModelLoader, SaysWhatWasLoaded) {
  const auto model = Golden("lfm2-tiny");
  EXPECT_EQ(model->name, "lfm2-tiny");
  EXPECT_EQ(model->dtype, "float32");
  EXPECT_EQ(model->kv_dtype, "float32");
  EXPECT_EQ(model->device, "cpu");
  EXPECT_EQ(model->isa, IsaName(*IsaFromEnvironment()));
  EXPECT_GE(model->bytes, 4 * model->config.ParameterCount());
  EXPECT_EQ(model->tokenizer->kind(), "bpe");
}

TEST(CpuModelLoader, ServesEveryFormatItIsAskedFor) {
  std::vector<int64_t> bytes;
  for (const auto& [weights, dtype] :
       {std::pair{"f32", "float32"}, {"bf16", "bfloat16"}, {"int8", "int8"}, {"int4", "int4"}}) {
    const auto model = Golden("lfm2-tiny", weights);
    EXPECT_EQ(model->dtype, dtype);
    EXPECT_EQ(model->kv_dtype, std::string(weights) == "f32" ? "float32" : "bfloat16");
    EXPECT_EQ(Generate(Limits(), {Request(model, {1, 2, 3, 4}, 8)})[0].size(), 8U);
    bytes.push_back(model->bytes);
  }
  EXPECT_TRUE(std::is_sorted(bytes.rbegin(), bytes.rend()));
}

TEST(CpuModelLoader, KeepsWhatIsStored) {
  const auto choice = [](std::string_view name,
                         const std::vector<std::pair<DType, int64_t>>& tensors) {
    TensorArchive archive;
    for (const auto& [type, bytes] : tensors) {
      TensorView view;
      view.dtype = type;
      view.bytes = bytes;
      archive.tensors.push_back(view);
    }
    return ChooseWeightFormat(name, archive);
  };
  EXPECT_EQ(*choice("auto", {{DType::kF32, 8}}), WeightFormat::kF32);
  EXPECT_EQ(*choice("auto", {{DType::kF32, 8}, {DType::kBF16, 9}}), WeightFormat::kBF16);
  EXPECT_EQ(*choice("auto", {{DType::kF16, 9}}), WeightFormat::kBF16);
  EXPECT_EQ(*choice("auto", {{DType::kF32, 2}, {DType::kQ8_0, 34}}), WeightFormat::kInt8);
  EXPECT_EQ(*choice("auto", {{DType::kQ4_0, 18}, {DType::kQ8_0, 2}}), WeightFormat::kInt4);
  EXPECT_EQ(*choice("int8", {{DType::kF32, 8}}), WeightFormat::kInt8);
  EXPECT_EQ(DetailsOf(choice("int3", {}).status()).reason, Reason::kInvalidArgument);
}

TEST(CpuModelLoader, RefusesWhatItCannotServe) {
  TempDirectory directory;
  EXPECT_FALSE(LoadForCpu(directory.path() / "absent").ok());
  const fs::path other = directory.path() / "other";
  fs::copy(kGoldens / "lfm2-tiny", other, fs::copy_options::recursive);
  fs::copy_file(kGoldens / "hybrid-parallel" / "model.safetensors", other / "model.safetensors",
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(DetailsOf(LoadForCpu(other).status()).reason, Reason::kWeightsMismatch);
}

}  // namespace
}  // namespace lfm2
