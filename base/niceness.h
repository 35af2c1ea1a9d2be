// How far a thread stands behind others. Thread rule: of the thread that calls.
#pragma once

#include <unistd.h>

namespace lfm2 {

// For this thread and those that it starts, as nice(1): Linux counts niceness by thread, and to
// have more of it is allowed to everybody.
inline void BeNicer(int by) { [[maybe_unused]] const int own = by > 0 ? nice(by) : 0; }

}  // namespace lfm2
