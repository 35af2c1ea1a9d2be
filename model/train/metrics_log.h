// A job's metrics.jsonl: one JSON object per line, append-only, beside the checkpoints. A resumed
// run appends the steps after its checkpoint again, so the last line of a step is the valid one.
// Not fsynced: a crash may lose the last lines, but no earlier ones. Thread rule: one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

class MetricsLog {
 public:
  // Also ends a line that a crash cut short, so that the next object starts on its own line.
  static absl::StatusOr<std::unique_ptr<MetricsLog>> Open(const std::filesystem::path& path);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  absl::Status Append(const StepMetrics& metrics, double loss_ema);
  absl::Status Append(const EvalMetrics& metrics);
  absl::Status AppendResume(int64_t step);

 private:
  explicit MetricsLog(int fd) : fd_(fd) {}
  absl::Status AppendLine(std::string line);
  int fd_;
};

}  // namespace lfm2
