#include "model/train/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/disk_full.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

absl::Status FileError(const char* action) {
  const int code = errno;
  return Error(MeansDiskFull(code) ? Reason::kDiskFull : Reason::kStorageIoError,
               absl::StrCat(action, " metrics.jsonl: ", std::strerror(code)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsLog>> MetricsLog::Open(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return FileError("opening");
  std::unique_ptr<MetricsLog> log(new MetricsLog(fd));
  const off_t size = lseek(fd, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && pread(fd, &last, 1, size - 1) != 1) return FileError("reading");
  if (last != '\n') LFM2_RETURN_IF_ERROR(log->AppendLine(""));
  return log;
}

MetricsLog::~MetricsLog() { close(fd_); }

absl::Status MetricsLog::AppendLine(std::string line) {
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("writing");
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status MetricsLog::Append(const StepMetrics& metrics, double loss_ema) {
  return AppendLine(Json{
      {"type", "step"},
      {"step", metrics.step},
      {"loss", metrics.loss},
      {"loss_ema", loss_ema},
      {"lr", metrics.lr},
      {"grad_norm", metrics.grad_norm},
      {"tokens", metrics.tokens},
      {"tokens_per_second", metrics.tokens_per_second},
      {"step_ms",
       metrics.step_ms}}.dump());
}

absl::Status MetricsLog::Append(const EvalMetrics& metrics) {
  return AppendLine(Json{
      {"type", "eval"}, {"step", metrics.step}, {"loss", metrics.loss}, {"tokens", metrics.tokens}}
                        .dump());
}

absl::Status MetricsLog::AppendResume(int64_t step) {
  return AppendLine(Json{{"type", "resume"}, {"step", step}}.dump());
}

}  // namespace lfm2
