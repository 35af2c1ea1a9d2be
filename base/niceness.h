// Lowers a thread's scheduling priority. Thread rule: affects the calling thread.
#pragma once

#include <unistd.h>

namespace lfm2 {

// Adds `by` to the niceness of this thread and of those that it starts, as nice(1) does for a
// process. Linux keeps niceness per thread, and raising it needs no privilege.
inline void BeNicer(int by) { [[maybe_unused]] const int own = by > 0 ? nice(by) : 0; }

}  // namespace lfm2
