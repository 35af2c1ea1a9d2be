// What an operator sees of the engine and its callers, in Prometheus' text format. Names follow
// OpenTelemetry's gen_ai conventions where there is one. Labels are words of this program only
// (reasons, names of causes): never a prompt, a token, a caller or a model. Thread rule: any
// thread. The .cc is the only file that sees prometheus-cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/errors.h"
#include "server/engine/request.h"

namespace lfm2 {

// What a request asks of a model: gen_ai.operation.name of the conventions.
enum class Operation { kGenerate, kScore, kParity };
inline constexpr int kOperations = 3;

// What is looked up at the moment of a scrape.
struct MetricsGauges {
  int64_t running_sequences = 0;
  int64_t waiting_requests = 0;
  int64_t waiting_tokens = 0;
  int64_t open_calls = 0;
  int64_t open_streams = 0;
  int64_t loaded_models = 0;
  BlockUsage blocks;
  bool serving = false;  // what health says of Generation
};

class Metrics {
 public:
  using Duration = std::chrono::steady_clock::duration;

  Metrics();
  ~Metrics();

  // A call that ended with an error before the engine had taken it.
  void CountRejected(Reason reason);
  void CountRestart();
  void ObserveStart(Duration queued, const PrefixReuse& reuse, int64_t prompt_tokens);
  void ObserveStep(size_t batch_size, Duration took);
  // Since the token before, or since the request came when it is the first.
  void ObserveToken(Duration gap, bool first);
  // Of one sequence in one step: guessed tokens, and those of them that its reader got.
  void CountDrafted(int64_t drafted, int64_t accepted);
  void ObserveEnd(const GenerateEnd& end, Duration took);
  // A Score or Parity that the engine had taken.
  void ObserveTaskEnd(Operation operation, const absl::Status& status, int64_t prompt_tokens,
                      Duration took);

  std::string Text(const MetricsGauges& gauges);

 private:
  struct Families;
  void CountEnd(Operation operation, const absl::Status& status, Duration took);
  const std::unique_ptr<Families> families_;
};

}  // namespace lfm2
