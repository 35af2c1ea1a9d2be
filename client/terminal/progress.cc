#include "client/terminal/progress.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_format.h"

namespace lfm2 {

std::string FormatCount(double count) {
  static constexpr std::array<const char*, 4> kUnits = {"", "k", "M", "G"};
  size_t unit = 0;
  while (std::abs(count) >= 1000 && unit + 1 < kUnits.size()) {
    count /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.*f%s", unit == 0 ? 0 : 1, count, kUnits[unit]);
}

std::string FormatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 3.2e9) return "?";
  const int64_t s = std::llround(seconds);
  if (s >= 86'400) {
    return absl::StrFormat("%dd %02d:%02d", s / 86'400, s / 3600 % 24, s / 60 % 60);
  }
  if (s >= 3600) return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
  return absl::StrFormat("%d:%02d", s / 60, s % 60);
}

std::string FormatAge(int64_t then_ms, int64_t now_ms) {
  if (then_ms <= 0) return "-";
  const int64_t s = std::max<int64_t>(0, (now_ms - then_ms) / 1000);
  if (s < 60) return absl::StrFormat("%ds ago", s);
  if (s < 3600) return absl::StrFormat("%dm ago", s / 60);
  if (s < 86'400) return absl::StrFormat("%dh ago", s / 3600);
  return absl::StrFormat("%dd ago", s / 86'400);
}

std::string RenderBar(double fraction, int width, bool unicode) {
  if (!(fraction >= 0)) fraction = 0;
  const int full = static_cast<int>(std::min(fraction, 1.0) * width);
  std::string bar = "[";
  for (int i = 0; i < width; ++i) {
    if (unicode) {
      bar += i < full ? "█" : "░";
    } else {
      bar += i < full ? '=' : (i == full ? '>' : ' ');
    }
  }
  return bar + "]";
}

std::string FormatTrainProgress(const TrainProgress& progress, bool unicode) {
  std::string text;
  if (progress.steps > 0) {
    const double fraction =
        static_cast<double>(progress.step) / static_cast<double>(progress.steps);
    text =
        RenderBar(fraction, 20, unicode) + absl::StrFormat(" %d/%d", progress.step, progress.steps);
  } else {
    text = absl::StrFormat("step %d", progress.step);
  }
  text += absl::StrFormat("  loss %.4f  %s tok/s", progress.loss,
                          FormatCount(progress.tokens_per_second));
  if (progress.steps > 0 && progress.seconds_per_step) {
    const double left = static_cast<double>(std::max<int64_t>(0, progress.steps - progress.step));
    text += "  ETA " + FormatDuration(left * *progress.seconds_per_step);
  }
  return text;
}

}  // namespace lfm2
