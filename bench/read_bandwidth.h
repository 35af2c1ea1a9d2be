// The read bandwidth of this machine's memory, which bounds a decoding step.
#pragma once

#include <cstdint>

#include "model/kernels/machine/thread_pool.h"

namespace lfm2 {

// So many bytes, or four times the third-level cache: what no cache holds.
int64_t UncachedBytes(int64_t at_least);

// Bytes a second with which all threads of the pool read what no cache holds, in about three
// seconds: the median of passes over 512 MB or more, each thread reading in one, two or four places
// at once, whichever is fastest. 0 when there is no memory for it.
double ReadBandwidth(ThreadPool& pool);

}  // namespace lfm2
