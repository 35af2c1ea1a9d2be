// Formats a size in bytes for people. Thread rule: pure.
#pragma once

#include <string>

namespace lfm2 {

std::string FormatBytes(double bytes);  // "1.5 GiB"

}  // namespace lfm2
