// Where a worker finds its end of the socket pair. Thread rule: a constant.
#pragma once

namespace lfm2 {

inline constexpr int kWorkerSocket = 3;  // descriptor

}  // namespace lfm2
