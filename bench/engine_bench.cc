// How fast the CPU's forward pass runs at LFM2's shapes, without network, files or real weights:
// decoding at a depth and by batch, prefill, memory, and the share of the memory bandwidth that the
// weights and the stored keys and values take. One JSON on standard output or to --out.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/read_bandwidth.h"
#include "model/cpu/decoder.h"
#include "model/sampling/sampler.h"

namespace lfm2 {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> models = {"350M", "1.2B"};
  std::vector<std::string> formats = {"f32", "bf16", "int8", "int4"};
  std::vector<int64_t> batches = {1, 4, 16};
  std::vector<int64_t> depths = {0, 4096};
  int64_t prefill = 512;
  double seconds = 3;
  int threads = 0;
  std::string isa;
  std::string out;
};

ModelConfig ConfigOf(const std::string& name) {
  const bool small = name == "350M";
  ModelConfig config;
  config.architecture = Architecture::kLfm2;
  config.vocab_size = 65'536;
  config.hidden_size = small ? 1024 : 2048;
  config.intermediate_size = small ? 4608 : 8192;
  config.num_attention_heads = small ? 16 : 32;
  config.num_key_value_heads = 8;
  config.head_dim = 64;
  config.qk_norm = true;
  config.rope_theta = 1e6;
  config.attention_layers.assign(16, false);
  for (const size_t layer : {2U, 5U, 8U, 10U, 12U, 14U}) config.attention_layers[layer] = true;
  return config;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Every tensor is a window into one buffer: the load needs no memory beside the packed weights.
class RandomTensors {
 public:
  explicit RandomTensors(const ModelConfig& config)
      : values_(static_cast<size_t>(config.vocab_size * config.hidden_size) + 4096) {
    std::mt19937 random(1);
    for (uint16_t& value : values_) {
      // bf16 of about +-0.01 to 0.04
      value = static_cast<uint16_t>(0x3c00U + random() % 0x110U + ((random() & 1U) << 15U));
    }
  }

  CpuWeights::Source source() {
    return [this](const TensorSpec& spec) -> absl::StatusOr<TensorView> {
      TensorView view;
      view.name = spec.name;
      view.dtype = DType::kBF16;
      view.shape = spec.shape;
      view.bytes = 2;
      for (const int64_t n : spec.shape) view.bytes *= n;
      const size_t shift = std::hash<std::string>()(spec.name) % 4096;
      view.data = reinterpret_cast<const std::byte*>(values_.data() + shift);
      return view;
    };
  }

 private:
  std::vector<uint16_t> values_;
};

class EngineBench {
 public:
  EngineBench(std::shared_ptr<const CpuWeights> weights, ThreadPool& pool)
      : decoder_(std::move(weights), pool),
        blocks_(decoder_.state_shape().block_bytes(), int64_t{64} << 30) {}

  struct Rate {
    double tokens_per_second = 0;  // the median of the runs
    int64_t runs = 0;
  };

  Rate Decode(int64_t batch, int64_t depth, double seconds) {
    std::vector<std::unique_ptr<CpuState>> states;
    for (int64_t i = 0; i < batch; ++i) states.push_back(StateAt(depth));
    std::vector<int32_t> tokens(static_cast<size_t>(batch), 1);
    const auto step = [&] { DecodeStep(states, tokens); };
    step();
    // Eight steps a run, so that the depth hardly moves.
    return Measure(seconds, static_cast<double>(batch) * 8, [&] {
      for (int i = 0; i < 8; ++i) step();
    });
  }

  Rate Prefill(int64_t tokens, int64_t depth, double seconds) {
    std::vector<int32_t> prompt;
    for (int64_t i = 0; i < tokens; ++i) prompt.push_back(static_cast<int32_t>(i * 977 % 65'536));
    return Measure(seconds, static_cast<double>(tokens), [&] {
      const auto state = StateAt(depth);
      Reserve(*state, tokens);
      const CpuSpan span{prompt, state.get(), LogitRows::kLast};
      if (!decoder_.Forward({&span, 1}).ok()) std::abort();
    });
  }

  int64_t kv_bytes_per_token() const {
    return decoder_.state_shape().block_bytes() / kKvBlockTokens;
  }

 private:
  void Reserve(CpuState& state, int64_t tokens) {
    if (!state.Reserve(tokens).ok()) std::abort();
  }

  // Stands after `depth` tokens whose keys and values are random numbers.
  std::unique_ptr<CpuState> StateAt(int64_t depth) {
    auto state = std::make_unique<CpuState>(decoder_.state_shape(), blocks_, 0);
    std::vector<KvBlock> filled;
    for (int64_t at = 0; at < depth; at += kKvBlockTokens) {
      filled.push_back(blocks_.Take());
      FillRandom(filled.back());
    }
    if (depth > 0) state->ResumeFrom(std::move(filled), depth, depth, nullptr);
    return state;
  }

  void FillRandom(const KvBlock& block) {
    const bool half = decoder_.state_shape().kv_type == KvType::kBF16;
    uint32_t random = 12'345;
    for (int64_t at = 0; at < blocks_.block_bytes(); at += half ? 2 : 4) {
      random = random * 1'664'525U + 1'013'904'223U;
      const float value = static_cast<float>(random >> 8U) / 1e8F - 0.08F;
      const auto bits = std::bit_cast<uint32_t>(value);
      const auto high = static_cast<uint16_t>(bits >> 16U);
      std::memcpy(block.data() + at, half ? static_cast<const void*>(&high) : &bits, half ? 2 : 4);
    }
  }

  void DecodeStep(std::vector<std::unique_ptr<CpuState>>& states, std::vector<int32_t>& tokens) {
    std::vector<CpuSpan> spans;
    for (size_t i = 0; i < states.size(); ++i) {
      Reserve(*states[i], 1);
      spans.push_back({{&tokens[i], 1}, states[i].get(), LogitRows::kLast});
    }
    const auto logits = decoder_.Forward(spans);
    if (!logits.ok()) std::abort();
    const size_t width = logits->size() / states.size();
    const SamplingParams greedy;
    decoder_.pool().ParallelFor(
        static_cast<int64_t>(states.size()), 1, [&](int64_t begin, int64_t end) {
          for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
            tokens[i] = SampleToken(logits->subspan(i * width, width), greedy, {}, 0).id;
          }
        });
  }

  template <typename Work>
  Rate Measure(double seconds, double tokens, Work work) {
    std::vector<double> rates;
    const double begin = Now();
    while (rates.size() < 3 || Now() - begin < seconds) {
      const double start = Now();
      work();
      rates.push_back(tokens / (Now() - start));
    }
    std::sort(rates.begin(), rates.end());
    return {rates[rates.size() / 2], static_cast<int64_t>(rates.size())};
  }

  CpuDecoder decoder_;
  BlockPool blocks_;
};

Json RunModel(const std::string& model, const std::string& format, const Options& options, Isa isa,
              ThreadPool& pool, double bandwidth) {
  const ModelConfig config = ConfigOf(model);
  const double begin = Now();
  std::shared_ptr<const CpuWeights> weights;
  {
    RandomTensors tensors(config);
    auto loaded =
        CpuWeights::Load(config, tensors.source(), {WeightFormatByName(format).value(), isa}, pool);
    if (!loaded.ok()) {
      std::fprintf(stderr, "%s\n", loaded.status().ToString().c_str());
      std::exit(1);
    }
    weights = *loaded;
  }
  Json out = {{"model", model}, {"weights", format}, {"parameters", config.ParameterCount()}};
  out["load_seconds"] = Now() - begin;
  out["weight_bytes"] = weights->bytes();
  EngineBench bench(weights, pool);
  for (const int64_t depth : options.depths) {
    for (const int64_t batch : options.batches) {
      if (depth > 0 && batch > 1) continue;
      const auto rate = bench.Decode(batch, depth, options.seconds);
      const double bytes = static_cast<double>(weights->bytes()) +
                           static_cast<double>(batch * depth * bench.kv_bytes_per_token());
      const double share = bytes * rate.tokens_per_second / static_cast<double>(batch) / bandwidth;
      std::fprintf(stderr, "%s %s decode, batch %2lld, depth %4lld: %8.2f tokens/s, %3.0f %%\n",
                   model.c_str(), format.c_str(), static_cast<long long>(batch),
                   static_cast<long long>(depth), rate.tokens_per_second, share * 100);
      out["decode"].push_back({{"batch", batch},
                               {"depth", depth},
                               {"tokens_per_second", rate.tokens_per_second},
                               {"bandwidth_share", share},
                               {"runs", rate.runs}});
    }
  }
  if (options.prefill > 0) {
    const auto rate = bench.Prefill(options.prefill, 0, options.seconds);
    const double matrix =
        static_cast<double>(config.ParameterCount() - config.vocab_size * config.hidden_size);
    std::fprintf(stderr, "%s %s prefill %lld: %.1f tokens/s, %.0f GOP/s\n", model.c_str(),
                 format.c_str(), static_cast<long long>(options.prefill), rate.tokens_per_second,
                 2e-9 * matrix * rate.tokens_per_second);
    out["prefill"] = {{"tokens", options.prefill},
                      {"tokens_per_second", rate.tokens_per_second},
                      {"runs", rate.runs}};
  }
  out["resident_bytes"] = ResidentBytes();
  return out;
}

int Main(const Options& options) {
  const absl::StatusOr<Isa> isa =
      options.isa.empty() ? IsaFromEnvironment() : IsaByName(options.isa);
  if (!isa.ok()) {
    std::fprintf(stderr, "%s\n", isa.status().ToString().c_str());
    return 1;
  }
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  ThreadPool pool(options.threads > 0 ? options.threads : cores);
  const double bandwidth = ReadBandwidth(pool);
  Json out = {{"instructions", IsaName(*isa)},
              {"threads", pool.threads()},
              {"read_bytes_per_second", bandwidth}};
  std::fprintf(stderr, "%s, %d threads, reads %.1f GB/s\n", IsaName(*isa), pool.threads(),
               bandwidth * 1e-9);
  for (const std::string& model : options.models) {
    for (const std::string& format : options.formats) {
      out["results"].push_back(RunModel(model, format, options, *isa, pool, bandwidth));
    }
  }
  const std::string text = out.dump(2) + "\n";
  if (options.out.empty()) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  std::ofstream file(options.out);
  file << text;
  return file.good() ? 0 : 1;
}

}  // namespace
}  // namespace lfm2

int main(int argc, char** argv) {
  lfm2::Options options;
  CLI::App app("Speed of the CPU's forward pass at LFM2's shapes, with random weights");
  app.add_option("--models", options.models, "350M, 1.2B")
      ->delimiter(',')
      ->check(CLI::IsMember({"350M", "1.2B"}));
  app.add_option("--weights", options.formats, "f32, bf16, int8, int4")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4"}));
  app.add_option("--batches", options.batches, "sequences decoded at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 256));
  app.add_option("--depths", options.depths, "tokens before the decoded ones; batch 1 beyond 0")
      ->delimiter(',')
      ->check(CLI::Range(0, 131'072));
  app.add_option("--prefill", options.prefill, "tokens of the prompt; 0: none")
      ->check(CLI::Range(0, 8192));
  app.add_option("--seconds", options.seconds, "of each measurement, at least");
  app.add_option("--threads", options.threads, "0: one a core")->check(CLI::Range(0, 1024));
  app.add_option("--isa", options.isa,
                 "portable, avx2, avx512, avx512_bf16, amx; default: the best");
  app.add_option("--out", options.out, "file of the JSON; default: standard output");
  CLI11_PARSE(app, argc, argv);
  return lfm2::Main(options);
}
