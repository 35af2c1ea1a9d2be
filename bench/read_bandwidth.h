// The read bandwidth of this machine's memory, which bounds a decoding step.
#pragma once

#include "model/kernels/thread_pool.h"

namespace lfm2 {

// Bytes a second with which all threads of the pool read what no cache holds, in about three
// seconds: the median of passes over 512 MB, each thread reading in one, two or four places at
// once, whichever is fastest. 0 when there is no memory for it.
double ReadBandwidth(ThreadPool& pool);

}  // namespace lfm2
