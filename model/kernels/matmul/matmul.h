// y = x w^T on the CPU: every matrix product of a forward.
//
// Arithmetic: kF32 in float32. kBF16: with Isa::kAvx512BF16 and kAmx the activations are
// rounded to bfloat16 and products are summed in float32 in pairs; elsewhere the weights are
// widened and all is float32. kInt8 and kInt4: each row of x is cut into groups of 32 and rounded
// to nearest even in -127..127 with one float32 scale a group (the group's largest magnitude /
// 127); products within a group are exact integers, groups are summed in float32. A group of x
// whose largest magnitude is below 1e-35 counts as zero there; a group with an infinity or a NaN
// makes its whole row of y NaN.
//
// Guarantee: a row of y depends only on its row of x and on w, bit for bit; not on `tokens`, its
// position among them or the pool's threads. The instruction sets differ from each other in the
// last bits.
//
// Thread rule: may be called from several threads at once, also with the same pool (the calls then
// run one after another).
// Memory: a scratch buffer of the calling thread holds the rounded activations; it grows to the
// largest call seen and is then reused.
#pragma once

#include <cstdint>

#include "model/kernels/machine/thread_pool.h"
#include "model/kernels/matmul/packed_matrix.h"

namespace lfm2 {

// x: [tokens, w.cols()], y: [tokens, w.rows()], both dense and not overlapping; tokens >= 0.
void MatMul(const PackedMatrix& w, const float* x, int64_t tokens, float* y, ThreadPool& pool);

}  // namespace lfm2
