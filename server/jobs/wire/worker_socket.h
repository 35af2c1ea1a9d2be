// The descriptor of a worker's end of the socket pair. Thread rule: a constant.
#pragma once

namespace lfm2 {

inline constexpr int kWorkerSocket = 3;  // descriptor

}  // namespace lfm2
