// The read bandwidth of this machine's memory, which bounds a decoding step.
#pragma once

#include "model/kernels/thread_pool.h"

namespace lfm2 {

// Bytes a second with which all threads of the pool read what no cache holds: the best that was
// seen in about two seconds, each thread reading in one, two or four places at once. 0 when there
// is no memory for it (512 MB).
double ReadBandwidth(ThreadPool& pool);

}  // namespace lfm2
