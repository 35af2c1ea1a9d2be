// A model without a network: the next token is a function of the tokens that the state has seen, so
// a test knows what must come out, and a chunk that is lost, doubled or given to another sequence
// is an error. The tokenizer is the real byte one.
//
// Thread rule: as ModelRunner; FakeModelCounters from any thread. Hooks run on the engine's thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "model/tokenizer/bytes.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

// Outlives the runner and its states.
struct FakeModelCounters {
  std::atomic<int64_t> live_states{0};
  std::atomic<int64_t> states_made{0};
  std::atomic<int64_t> states_retired{0};
  std::atomic<int64_t> steps{0};
  std::atomic<int64_t> tokens{0};            // that went through the model
  std::atomic<int64_t> most_step_tokens{0};  // of one step
  std::atomic<int64_t> most_step_items{0};
};

struct FakeModelScript {
  // `history`: all that the state has seen. Left empty: NextPrintable.
  std::function<int32_t(std::span<const int32_t> history, const StepItem& item)> next;
  std::function<absl::Status(const StepItem& item)> fail_item;  // this item's own failure
  std::function<absl::Status()> fail_new_state;
  std::function<PrefixReuse(const StateRequest& request)> reuse;  // empty: nothing is kept
  std::function<void(std::span<const int32_t> tokens, std::string_view tenant)> on_retire;
  std::function<void(std::span<const StepItem> items)> before_step;   // to wait, or to look
  std::function<void(std::span<const int32_t> tokens)> before_probe;  // of each chunk
  bool verifies_drafts = false;
};

// A printable ASCII character that depends on every token before it and on the seed.
inline int32_t NextPrintable(std::span<const int32_t> history, const StepItem& item) {
  uint64_t hash = 1469598103934665603ULL ^ item.sampling->seed;
  for (const int32_t token : history)
    hash = (hash ^ static_cast<uint64_t>(token)) * 1099511628211ULL;
  return 'a' + static_cast<int32_t>((hash >> 20) % 26);
}

class FakeRunnerState : public RunnerState {
 public:
  explicit FakeRunnerState(std::shared_ptr<FakeModelCounters> counters)
      : counters_(std::move(counters)) {
    ++counters_->live_states;
    ++counters_->states_made;
  }
  ~FakeRunnerState() override { --counters_->live_states; }
  struct Text {
    std::vector<int32_t> seen;
    size_t certain = 0;  // of it: not drafted in the last step
  };
  Text text;

 private:
  std::shared_ptr<FakeModelCounters> counters_;
};

class FakeModelRunner : public ModelRunner {
 public:
  explicit FakeModelRunner(
      FakeModelScript script = {},
      std::shared_ptr<FakeModelCounters> counters = std::make_shared<FakeModelCounters>())
      : script_(std::move(script)), counters_(std::move(counters)) {
    if (!script_.next) script_.next = NextPrintable;
  }

  absl::StatusOr<NewState> Start(const StateRequest& request) override {
    if (script_.fail_new_state) {
      if (absl::Status status = script_.fail_new_state(); !status.ok()) return status;
    }
    auto state = std::make_unique<FakeRunnerState>(counters_);
    NewState fresh;
    if (!request.use_cache) fresh.reuse.miss = PrefixMiss::kDisabled;
    if (request.use_cache && script_.reuse) fresh.reuse = script_.reuse(request);
    const auto seen = request.prompt.first(static_cast<size_t>(fresh.reuse.resume_at()));
    state->text.seen.assign(seen.begin(), seen.end());
    fresh.state = std::move(state);
    return fresh;
  }

  void Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
              std::string_view tenant) override {
    auto& [seen, certain] = static_cast<FakeRunnerState&>(*state).text;
    if (certain <= tokens.size() && tokens.size() < seen.size()) seen.resize(tokens.size());
    if (!std::equal(seen.begin(), seen.end(), tokens.begin(), tokens.end())) return;
    ++counters_->states_retired;
    if (script_.on_retire) script_.on_retire(tokens, tenant);
  }

  bool verifies_drafts() const override { return script_.verifies_drafts; }

  std::vector<StepOutput> Step(std::span<const StepItem> items) override {
    if (script_.before_step) script_.before_step(items);
    int64_t tokens = 0;
    std::vector<StepOutput> outputs;
    for (const StepItem& item : items) {
      tokens += static_cast<int64_t>(item.tokens.size() + item.draft.size());
      outputs.push_back(StepOne(item));
    }
    ++counters_->steps;
    counters_->tokens += tokens;
    Raise(counters_->most_step_tokens, tokens);
    Raise(counters_->most_step_items, static_cast<int64_t>(items.size()));
    return outputs;
  }

  // -1 for each prediction of an even token, -2 of an odd one.
  absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                std::span<const int32_t> tokens) override {
    auto& seen = static_cast<FakeRunnerState&>(state).text.seen;
    seen.insert(seen.end(), tokens.begin(), tokens.end() - 1);
    std::vector<float> scores;
    for (size_t i = 1; i < tokens.size(); ++i) scores.push_back(tokens[i] % 2 == 0 ? -1.0F : -2.0F);
    return scores;
  }

  // A probe "hidden" and logits, both [T, 4], that count up.
  class FakeProbePass : public ProbePass {
   public:
    explicit FakeProbePass(FakeModelRunner& runner) : runner_(runner) {}
    absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report) override {
      if (runner_.script_.before_probe) runner_.script_.before_probe(tokens);
      std::vector<float> values;
      for (size_t i = 0; i < tokens.size() * 4; ++i) values.push_back(next_++);
      report.Add("hidden", values, {static_cast<int64_t>(tokens.size()), 4});
      report.AddLogits(values, 4);
      return absl::OkStatus();
    }

   private:
    FakeModelRunner& runner_;
    FakeRunnerState state_{runner_.counters_};
    float next_ = 0;
  };
  absl::StatusOr<std::unique_ptr<ProbePass>> StartProbe() override {
    return std::make_unique<FakeProbePass>(*this);
  }

 private:
  static void Raise(std::atomic<int64_t>& most, int64_t value) {
    if (value > most) most = value;
  }

  StepOutput StepOne(const StepItem& item) {
    if (script_.fail_item) {
      if (absl::Status status = script_.fail_item(item); !status.ok())
        return {status, std::nullopt};
    }
    auto& [seen, certain] = static_cast<FakeRunnerState&>(*item.state).text;
    seen.insert(seen.end(), item.tokens.begin(), item.tokens.end());
    certain = seen.size();
    if (!item.sample) return {absl::OkStatus(), std::nullopt};
    if (!std::equal(seen.begin(), seen.end(), item.history.begin(), item.history.end())) {
      return {Error(Reason::kInternal, "the state has not seen what the sequence holds"),
              std::nullopt};
    }
    StepOutput output{absl::OkStatus(), SampleAfter(seen, item)};
    int32_t last = output.sample->id;
    for (const int32_t guess : item.draft) {
      if (last != guess) break;
      seen.push_back(guess);
      StepItem next = item;
      next.index += static_cast<int64_t>(seen.size() - certain);
      output.more.push_back(SampleAfter(seen, next));
      last = output.more.back().id;
    }
    return output;
  }

  Sample SampleAfter(std::span<const int32_t> seen, const StepItem& item) const {
    Sample sample;
    sample.id = script_.next(seen, item);
    sample.logprob = -0.5F;
    for (int64_t i = 0; i < item.sampling->logprobs; ++i) {
      sample.top.push_back({static_cast<int32_t>(i), -1.0F - static_cast<float>(i)});
    }
    return sample;
  }

  FakeModelScript script_;
  std::shared_ptr<FakeModelCounters> counters_;
};

// Served by the fake runner, with the byte tokenizer: eos is 258.
inline std::shared_ptr<LoadedModel> MakeFakeModel(
    FakeModelScript script = {},
    std::shared_ptr<FakeModelCounters> counters = std::make_shared<FakeModelCounters>(),
    const std::string& name = "fake") {
  auto model = std::make_shared<LoadedModel>();
  model->name = name;
  model->version = "v1";
  model->tokenizer = MakeByteTokenizer();
  model->config.vocab_size = model->tokenizer->vocab_size();
  model->config.hidden_size = 8;
  model->config.max_position_embeddings = 4096;
  model->config.eos_token_id = model->tokenizer->eos();
  model->config.attention_layers = {true};
  model->runner = std::make_unique<FakeModelRunner>(std::move(script), std::move(counters));
  model->dtype = "float32";
  model->device = "cpu";
  model->bytes = 1024;
  return model;
}

// Says `text` from the first generated token on, then eos for ever.
inline FakeModelScript Saying(std::string text) {
  FakeModelScript script;
  script.next = [text = std::move(text)](std::span<const int32_t>, const StepItem& item) {
    const auto index = static_cast<size_t>(item.index);
    return index < text.size() ? static_cast<int32_t>(static_cast<unsigned char>(text[index]))
                               : 258;
  };
  return script;
}

inline std::vector<int32_t> BytesAsTokens(std::string_view text) {
  std::vector<int32_t> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

}  // namespace lfm2
