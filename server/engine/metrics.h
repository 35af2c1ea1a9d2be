// Metrics of the engine and its callers, in Prometheus' text format. Names follow OpenTelemetry's
// gen_ai conventions if these have one. Labels are only words of this program (reasons, names of
// causes), never a prompt, a token, a caller or a model. Thread rule: any thread. The .cc is the
// only file that sees prometheus-cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/errors.h"
#include "server/engine/request.h"

namespace lfm2 {

// The kind of request: gen_ai.operation.name of the conventions.
enum class Operation { kGenerate, kScore, kParity };
inline constexpr int kOperations = 3;

// Values that are read at each scrape.
struct MetricsGauges {
  int64_t running_sequences = 0;
  int64_t waiting_requests = 0;
  int64_t waiting_tokens = 0;
  int64_t open_calls = 0;
  int64_t open_streams = 0;
  int64_t loaded_models = 0;
  BlockUsage blocks;
  bool serving = false;  // as health reports for Generation
};

class Metrics {
 public:
  using Duration = std::chrono::steady_clock::duration;

  Metrics();
  ~Metrics();

  // A call that failed before the engine accepted it.
  void CountRejected(Reason reason);
  void CountRestart();
  void ObserveStart(Duration queued, const PrefixReuse& reuse, int64_t prompt_tokens);
  void ObserveStep(size_t batch_size, Duration took);
  // `gap`: time since the previous token, or since the request's arrival for the first token.
  void ObserveToken(Duration gap, bool first);
  // For one sequence in one step: drafted tokens, and how many of them were delivered.
  void CountDrafted(int64_t drafted, int64_t accepted);
  void ObserveEnd(const GenerateEnd& end, Duration took);
  // The end of a Score or Parity that the engine had accepted.
  void ObserveTaskEnd(Operation operation, const absl::Status& status, int64_t prompt_tokens,
                      Duration took);

  std::string Text(const MetricsGauges& gauges);

 private:
  struct Families;
  void CountEnd(Operation operation, const absl::Status& status, Duration took);
  const std::unique_ptr<Families> families_;
};

}  // namespace lfm2
