// How long work learns that nobody waits for it any more. Thread rule: asked by the thread that
// works.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace lfm2 {

// OK to go on, or why the work ends: kCancelled, kDeadlineInDecode. Cheap: asked about every MiB.
// Empty: nothing ends the work.
using StopCheck = std::function<absl::Status()>;

inline absl::Status CheckStop(const StopCheck& stop) { return stop ? stop() : absl::OkStatus(); }

}  // namespace lfm2
