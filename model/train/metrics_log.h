// metrics.jsonl of a job: one object a line, append-only, beside the checkpoints. A resumed run
// appends again the steps that came after its checkpoint: the last line of a step counts. Thread
// rule: one thread. Not fsynced: a crash may cost the last lines, never an earlier one.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

class MetricsLog {
 public:
  // Ends a line that a crash cut short, so that the next one stands alone.
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
