// Lets long work ask whether its result is still wanted. Thread rule: called by the thread that
// does the work.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace lfm2 {

// OK to continue, or why the work must end: kCancelled, kDeadlineInDecode. Must be cheap: it is
// called about every MiB. An empty function never ends the work.
using StopCheck = std::function<absl::Status()>;

inline absl::Status CheckStop(const StopCheck& stop) { return stop ? stop() : absl::OkStatus(); }

}  // namespace lfm2
