// What drafted tokens gain and cost through the engine, with a real model: each task of a folder is
// answered greedily with each number of drafted tokens, alone or by several callers at once, and
// the answers must be equal. A table on standard error, a JSON on standard output or to --out.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "model/tokenizer/chat/chat_template.h"
#include "server/engine/cpu_loader.h"
#include "server/engine/engine.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  std::string weights = "auto";
  std::string tasks = "bench/speculation";
  std::vector<int64_t> drafts = {0, 8};
  std::vector<int64_t> clients = {1};
  int64_t step_tokens = kDefaultLimits.speculative_step_tokens;
  int64_t tokens = 256;
  int rounds = 3;
  int threads = 0;
  std::string out;
};

// Of all threads of this process.
double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Answer : public TokenSink {
 public:
  bool OnToken(TokenEvent event) override {
    if (ids.empty()) cpu_begin = CpuSeconds();
    ids.push_back(event.id);
    return true;
  }
  void OnEnd(GenerateEnd given) override {
    {
      const MutexLock lock(mutex_);
      cpu_end = CpuSeconds();
      end = std::move(given);
      ended_ = true;
    }
    changed_.NotifyAll();
  }
  absl::Status Stopped() const override { return absl::OkStatus(); }
  void Wait() {
    const MutexLock lock(mutex_);
    while (!ended_) changed_.Wait(mutex_);
  }

  // All complete after Wait.
  std::vector<int32_t> ids;
  GenerateEnd end;
  double cpu_begin = 0, cpu_end = 0;  // the processor's seconds at the first token and at the end

 private:
  Mutex mutex_;
  CondVar changed_;
  bool ended_ LFM2_GUARDED_BY(mutex_) = false;
};

struct Task {
  std::string name, kind;  // "code-1", "code"
  std::vector<int32_t> prompt;
};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

std::vector<Task> ReadTasks(const fs::path& folder, const Tokenizer& tokenizer) {
  std::vector<Task> tasks;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".txt") continue;
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    auto prompt = EncodeChat(tokenizer, {.messages = {{"user", text.str()}}});
    if (!prompt.ok()) Fail(prompt.status().ToString());
    const std::string name = entry.path().stem().string();
    tasks.push_back({name, name.substr(0, name.find('-')), *std::move(prompt)});
  }
  std::sort(tasks.begin(), tasks.end(),
            [](const Task& a, const Task& b) { return a.name < b.name; });
  return tasks;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Total {
  std::vector<double> rates, cpu_rates;  // tokens a second, one a round
  int64_t tokens = 0, drafted = 0, accepted = 0;
};

struct Round {
  int64_t tokens = 0;
  double seconds = 0, cpu_seconds = 0;
};

class Bench {
 public:
  Bench(const Options& options, std::shared_ptr<LoadedModel> model)
      : options_(options),
        model_(std::move(model)),
        tasks_(ReadTasks(options.tasks, *model_->tokenizer)) {
    if (tasks_.empty()) Fail("there is no task in " + options.tasks);
  }

  Json Run() {
    Json out = Json::array();
    for (const int64_t clients : options_.clients) {
      std::map<std::string, std::map<int64_t, Total>> totals;  // by kind, by drafted tokens
      // Round by round, so that a busy minute of the machine meets all alike.
      for (int round = 0; round < options_.rounds; ++round) {
        for (const int64_t drafts : options_.drafts) RunRound(clients, drafts, totals);
      }
      for (auto& [kind, by_drafts] : totals) {
        const Total plain = by_drafts.begin()->second;
        for (const auto& [drafts, total] : by_drafts) {
          out.push_back(Line(kind, clients, drafts, total, plain));
        }
      }
    }
    return out;
  }

 private:
  void RunRound(int64_t clients, int64_t drafts,
                std::map<std::string, std::map<int64_t, Total>>& totals) {
    Limits limits;
    limits.speculative_tokens = drafts;
    limits.speculative_step_tokens = options_.step_tokens;
    Engine engine(limits, Clock::Real());
    std::map<std::string, Round> rounds;
    for (const Task& task : tasks_) {
      RunTask(engine, task, clients, rounds[task.kind], totals[task.kind][drafts]);
    }
    for (const auto& [kind, round] : rounds) {
      const auto tokens = static_cast<double>(round.tokens);
      totals[kind][drafts].rates.push_back(tokens / round.seconds);
      totals[kind][drafts].cpu_rates.push_back(tokens / round.cpu_seconds);
    }
  }

  // By `clients` callers at once. The prompts' time does not count.
  void RunTask(Engine& engine, const Task& task, int64_t clients, Round& round, Total& total) {
    std::vector<std::shared_ptr<Answer>> answers;
    for (int64_t i = 0; i < clients; ++i) {
      GenerateRequest request;
      request.model = model_;
      request.prompt = task.prompt;
      request.max_new_tokens = options_.tokens;
      request.use_prefix_cache = false;
      answers.push_back(std::make_shared<Answer>());
      const absl::Status status = engine.Submit(std::move(request), answers.back());
      if (!status.ok()) Fail(status.ToString());
    }
    for (const auto& answer : answers) answer->Wait();
    double slowest = 0, cpu_begin = answers[0]->cpu_begin, cpu_end = 0;
    for (const auto& answer : answers) {
      if (!answer->end.status.ok()) Fail(answer->end.status.ToString());
      const auto [known, first] = answers_.emplace(task.name, answer->ids);
      if (!first && known->second != answer->ids) Fail(task.name + ": the answers differ");
      total.tokens += answer->end.completion_tokens;
      total.drafted += answer->end.drafted_tokens;
      total.accepted += answer->end.accepted_tokens;
      round.tokens += answer->end.completion_tokens - 1;
      slowest = std::max(slowest, answer->end.decode_ms / 1000);
      cpu_begin = std::min(cpu_begin, answer->cpu_begin);
      cpu_end = std::max(cpu_end, answer->cpu_end);
    }
    round.cpu_seconds += cpu_end - cpu_begin;
    round.seconds += slowest;
  }

  static Json Line(const std::string& kind, int64_t clients, int64_t drafts, const Total& total,
                   const Total& plain) {
    const double rate = Median(total.rates), ratio = rate / Median(plain.rates);
    const double cpu_rate = Median(total.cpu_rates), cpu_ratio = cpu_rate / Median(plain.cpu_rates);
    const auto share = [](int64_t part, int64_t whole) {
      return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
    };
    std::fprintf(stderr,
                 "%-10s %3lld callers, %2lld drafted: %8.2f tokens/s, %5.2f x; %8.2f per CPU "
                 "second, %5.2f x; accepted %3.0f %% "
                 "of the drafted, %3.0f %% of the answer\n",
                 kind.c_str(), static_cast<long long>(clients), static_cast<long long>(drafts),
                 rate, ratio, cpu_rate, cpu_ratio, 100 * share(total.accepted, total.drafted),
                 100 * share(total.accepted, total.tokens));
    return {{"kind", kind},
            {"callers", clients},
            {"speculative_tokens", drafts},
            {"tokens_per_second", rate},
            {"ratio", ratio},
            {"tokens_per_cpu_second", cpu_rate},
            {"cpu_ratio", cpu_ratio},
            {"tokens", total.tokens},
            {"drafted", total.drafted},
            {"accepted", total.accepted}};
  }

  const Options options_;
  const std::shared_ptr<LoadedModel> model_;
  const std::vector<Task> tasks_;
  std::map<std::string, std::vector<int32_t>> answers_;  // by task
};

int Main(const Options& options) {
  CpuLoaderOptions loading;
  loading.weights = options.weights;
  loading.threads = options.threads;
  const auto loader = MakeCpuModelLoader(loading);
  if (!loader.ok()) Fail(loader.status().ToString());
  ModelVersion version;
  version.name = "model";
  version.version = "v1";
  version.directory = options.model;
  auto model = (*loader)(version);
  if (!model.ok()) Fail(model.status().ToString());
  Json out = {{"model", fs::path(options.model).filename().string()},
              {"weights", (*model)->dtype},
              {"instructions", (*model)->isa}};
  out["results"] = Bench(options, *model).Run();
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
  CLI::App app("What drafted tokens gain through the engine, with a real model");
  app.add_option("--model", options.model, "folder or GGUF")->required();
  app.add_option("--weights", options.weights, "auto, f32, bf16, int8, int4");
  app.add_option("--tasks", options.tasks, "folder of KIND-N.txt, each one message of a user");
  app.add_option("--drafts", options.drafts, "drafted tokens of a step; the first is the base")
      ->delimiter(',')
      ->check(CLI::Range(0, 64));
  app.add_option("--clients", options.clients, "callers at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  app.add_option("--step_tokens", options.step_tokens, "decoding and drafted tokens of a step");
  app.add_option("--tokens", options.tokens, "of an answer, at most")->check(CLI::Range(2, 65'536));
  app.add_option("--rounds", options.rounds, "the median counts")->check(CLI::Range(1, 1000));
  app.add_option("--threads", options.threads, "0: one a core")->check(CLI::Range(0, 1024));
  app.add_option("--out", options.out, "file of the JSON; default: standard output");
  CLI11_PARSE(app, argc, argv);
  return lfm2::Main(options);
}
