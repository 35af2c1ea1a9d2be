#include "server/engine/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <map>
#include <vector>

namespace lfm2 {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

// The conventions' own boundaries, in seconds.
Buckets FirstTokenBuckets() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
          0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0};
}
Buckets TokenBuckets() {
  return {0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5};
}
Buckets DurationBuckets() {
  return {0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
}
Buckets SizeBuckets() { return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}; }

using Labels = std::map<std::string, std::string>;

// A chat counts as text, because it is rendered to text before it reaches the engine.
Labels LabelsOf(Operation operation) {
  static constexpr const char* kNames[kOperations] = {"text_completion", "score", "parity"};
  return {{"gen_ai_operation_name", kNames[static_cast<size_t>(operation)]}};
}

double Seconds(Metrics::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

// All series are created at the start, so that each one exists with value 0 before its first event.
struct Metrics::Families {
  prometheus::Family<Histogram>& MakeHistograms(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }
  Histogram& MakeHistogram(const char* name, const char* help, const Buckets& buckets,
                           const Labels& labels = {}) {
    return MakeHistograms(name, help).Add(labels, buckets);
  }
  Gauge& MakeGauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  }
  Counter& MakeCounter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }

  Families() {
    auto& token_family = prometheus::BuildCounter()
                             .Name("gen_ai_client_token_usage_total")
                             .Help("Tokens of prompts and completions")
                             .Register(registry);
    for (size_t i = 0; i < kOperations; ++i) {
      Labels labels = LabelsOf(static_cast<Operation>(i));
      durations[i] = &duration_family.Add(labels, DurationBuckets());
      labels["gen_ai_token_type"] = "input";
      tokens_in[i] = &token_family.Add(labels);
    }
    Labels output = LabelsOf(Operation::kGenerate);
    output["gen_ai_token_type"] = "output";
    tokens_out = &token_family.Add(output);
    for (const ReasonSpec& spec : AllReasons()) {
      ended.push_back(&ended_family.Add({{"reason", spec.name}}));
      rejected.push_back(&rejected_family.Add({{"reason", spec.name}}));
    }
    for (int miss = 0; miss < kPrefixMisses; ++miss) {
      lookups[static_cast<size_t>(miss)] =
          &lookup_family.Add({{"reason", PrefixMissName(static_cast<PrefixMiss>(miss))}});
    }
  }

  prometheus::Registry registry;
  Histogram& first_token =
      MakeHistogram("gen_ai_server_time_to_first_token_seconds",
                    "Time from a request's arrival at the engine to its first token",
                    FirstTokenBuckets(), LabelsOf(Operation::kGenerate));
  Histogram& per_token =
      MakeHistogram("gen_ai_server_time_per_output_token_seconds",
                    "Mean time per token after the first, of successful requests", TokenBuckets(),
                    LabelsOf(Operation::kGenerate));
  Histogram& gap = MakeHistogram("lfm2_inter_token_seconds",
                                 "Time between two tokens of one request", TokenBuckets());
  prometheus::Family<Histogram>& duration_family =
      MakeHistograms("gen_ai_server_request_duration_seconds",
                     "Time from a request's arrival at the engine to its end");
  Histogram& queued = MakeHistogram(
      "lfm2_queue_seconds", "Time from a request's arrival to its first step", FirstTokenBuckets());
  Histogram& batch =
      MakeHistogram("lfm2_batch_size", "Sequences in one step of one model", SizeBuckets());
  Histogram& step =
      MakeHistogram("lfm2_step_seconds", "Time of one step of one model", TokenBuckets());
  Counter& restarts = MakeCounter("lfm2_sequence_restarts_total",
                                  "Sequences that were restarted because their batch failed");
  Counter& cached = MakeCounter("lfm2_prefix_cached_tokens_total",
                                "Prompt tokens that were taken from the prefix cache");
  Counter& replayed =
      MakeCounter("lfm2_prefix_replayed_tokens_total",
                  "Cached prompt tokens that were run again to rebuild the convolutions' states");
  Counter& drafted =
      MakeCounter("lfm2_speculative_drafted_tokens_total", "Drafted tokens that the model checked");
  Counter& accepted = MakeCounter("lfm2_speculative_accepted_tokens_total",
                                  "Drafted tokens that became part of a completion");
  Counter& ended_ok =
      MakeCounter("lfm2_requests_completed_total", "Requests that ended successfully");
  prometheus::Family<Counter>& ended_family =
      prometheus::BuildCounter()
          .Name("lfm2_requests_failed_total")
          .Help("Accepted requests that ended with an error, by reason")
          .Register(registry);
  prometheus::Family<Counter>& rejected_family =
      prometheus::BuildCounter()
          .Name("lfm2_requests_rejected_total")
          .Help(
              "Calls of Generation and Parity that ended with an error before the engine had "
              "accepted them, by reason")
          .Register(registry);
  prometheus::Family<Counter>& lookup_family =
      prometheus::BuildCounter()
          .Name("lfm2_prefix_lookups_total")
          .Help(
              "Lookups in the prefix cache, by the reason why the rest of the prompt was computed")
          .Register(registry);
  Gauge& running = MakeGauge("lfm2_sequences_running", "Sequences that hold a place");
  Gauge& waiting = MakeGauge("lfm2_requests_waiting", "Accepted requests that have not started");
  Gauge& waiting_tokens =
      MakeGauge("lfm2_tokens_waiting", "Prompt tokens of accepted requests that have not started");
  Gauge& calls = MakeGauge("lfm2_calls_open", "Open calls of all services");
  Gauge& streams = MakeGauge("lfm2_streams_open", "Open calls that are streams of events");
  Gauge& models = MakeGauge("lfm2_models_loaded", "Models in memory");
  Gauge& blocks_used = MakeGauge(
      "lfm2_kv_blocks_in_use",
      "Blocks of keys and values used by sequences, also if shared with the prefix cache");
  Gauge& blocks_cached =
      MakeGauge("lfm2_kv_blocks_cached", "Blocks of keys and values held only by the prefix cache");
  Gauge& blocks_total =
      MakeGauge("lfm2_kv_blocks_limit", "Maximum number of blocks of keys and values");
  Gauge& serving =
      MakeGauge("lfm2_serving", "1 while a model can answer, as health reports for Generation");
  std::array<Histogram*, kOperations> durations{};
  std::array<Counter*, kOperations> tokens_in{};
  Counter* tokens_out = nullptr;
  std::vector<Counter*> ended, rejected;  // by reason
  std::array<Counter*, kPrefixMisses> lookups{};
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::CountRejected(Reason reason) {
  families_->rejected[static_cast<size_t>(reason)]->Increment();
}

void Metrics::CountRestart() { families_->restarts.Increment(); }

void Metrics::ObserveStart(Duration queued, const PrefixReuse& reuse, int64_t prompt_tokens) {
  families_->queued.Observe(Seconds(queued));
  families_->lookups[static_cast<size_t>(reuse.miss)]->Increment();
  families_->cached.Increment(static_cast<double>(reuse.cached_tokens));
  families_->replayed.Increment(static_cast<double>(reuse.replayed_tokens));
  families_->tokens_in[static_cast<size_t>(Operation::kGenerate)]->Increment(
      static_cast<double>(prompt_tokens));
}

void Metrics::ObserveStep(size_t batch_size, Duration took) {
  families_->batch.Observe(static_cast<double>(batch_size));
  families_->step.Observe(Seconds(took));
}

void Metrics::ObserveToken(Duration gap, bool first) {
  (first ? families_->first_token : families_->gap).Observe(Seconds(gap));
  families_->tokens_out->Increment();
}

void Metrics::CountDrafted(int64_t drafted, int64_t accepted) {
  families_->drafted.Increment(static_cast<double>(drafted));
  families_->accepted.Increment(static_cast<double>(accepted));
}

void Metrics::ObserveEnd(const GenerateEnd& end, Duration took) {
  CountEnd(Operation::kGenerate, end.status, took);
  if (end.status.ok() && end.completion_tokens > 1) {
    families_->per_token.Observe(end.decode_ms / 1000 /
                                 static_cast<double>(end.completion_tokens - 1));
  }
}

void Metrics::ObserveTaskEnd(Operation operation, const absl::Status& status, int64_t prompt_tokens,
                             Duration took) {
  families_->tokens_in[static_cast<size_t>(operation)]->Increment(
      static_cast<double>(prompt_tokens));
  CountEnd(operation, status, took);
}

void Metrics::CountEnd(Operation operation, const absl::Status& status, Duration took) {
  families_->durations[static_cast<size_t>(operation)]->Observe(Seconds(took));
  Counter& counter = status.ok() ? families_->ended_ok
                                 : *families_->ended[static_cast<size_t>(DetailsOf(status).reason)];
  counter.Increment();
}

std::string Metrics::Text(const MetricsGauges& gauges) {
  const auto set = [](Gauge& gauge, int64_t value) { gauge.Set(static_cast<double>(value)); };
  set(families_->running, gauges.running_sequences);
  set(families_->waiting, gauges.waiting_requests);
  set(families_->waiting_tokens, gauges.waiting_tokens);
  set(families_->calls, gauges.open_calls);
  set(families_->streams, gauges.open_streams);
  set(families_->models, gauges.loaded_models);
  set(families_->blocks_used, gauges.blocks.in_use);
  set(families_->blocks_cached, gauges.blocks.cached);
  set(families_->blocks_total, gauges.blocks.limit);
  set(families_->serving, gauges.serving ? 1 : 0);
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace lfm2
