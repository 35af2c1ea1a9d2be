// Formats sizes, times and the state of a training run in one line. All functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/format_bytes.h"

namespace lfm2 {

std::string FormatCount(double count);                   // "12.3k"
std::string FormatDuration(double seconds);              // "0:42", "1:02:03", "2d 03:04"
std::string FormatAge(int64_t then_ms, int64_t now_ms);  // "3m ago"
// `fraction` is limited to 0 to 1.
std::string RenderBar(double fraction, int width, bool unicode);

struct TrainProgress {
  int64_t step = 0;
  int64_t steps = 0;  // 0: unknown; then shows no bar and no ETA
  double loss = 0;
  double tokens_per_second = 0;
  std::optional<double> seconds_per_step;  // smoothed
};

// "[=====>    ] 120/200  loss 2.3412  12.3k tok/s  ETA 0:42"
std::string FormatTrainProgress(const TrainProgress& progress, bool unicode);

}  // namespace lfm2
