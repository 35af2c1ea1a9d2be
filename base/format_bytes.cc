#include "base/format_bytes.h"

#include <array>
#include <cstdio>

namespace lfm2 {

std::string FormatBytes(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  char text[336];
  std::snprintf(text, sizeof(text), "%.*f %s", unit == 0 ? 0 : 1, bytes, kUnits[unit]);
  return text;
}

}  // namespace lfm2
