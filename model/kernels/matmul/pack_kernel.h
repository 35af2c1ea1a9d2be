// The functions that PackedMatrix needs for an instruction set: they check and round rows of
// weights and put them into a panel's order. They are vectorized so that loading a model is limited
// by memory bandwidth.
//
// Bit-identical on every instruction set: nothing is summed, and no FMA is used. Thread rule: pure
// functions of their arguments. Rows need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lfm2 {

struct PackKernel {
  // True when none of a row's n bfloat16 values is infinite or NaN.
  bool (*finite_bf16)(const std::byte* row, int64_t n);
  void (*widen_bf16)(const std::byte* row, int64_t n, float* to);
  // The bits of the largest magnitude; 0x7f800000 or more when a value is not finite.
  uint32_t (*largest)(const float* row, int64_t n);
  // Rounds to nearest even. Values must be finite.
  void (*round_bf16)(const float* row, int64_t n, uint16_t* to);
  // Groups of 32 by the rule of ggml's reference quantizers (ggml-quants.c, quantize_row_q8_0_ref
  // and quantize_row_q4_0_ref). Values are finite. int8: q in -127..127, scale = largest magnitude
  // / 127. int4: q in -8..7, scale = the largest / -8; byte i of a group holds q + 8 of value i in
  // its low half, of value i + 16 in its high half.
  void (*round_int8)(const float* row, int64_t groups, int8_t* q, float* scales);
  void (*round_int4)(const float* row, int64_t groups, uint8_t* pairs, float* scales);
  // Four bytes of each of 16 rows side by side: word w of row r, which begins `offset` bytes into
  // rows[r], with the bits of `flip` turned, to to[64 * w + 4 * r].
  void (*interleave)(const std::byte* const* rows, int64_t offset, int64_t words, uint32_t flip,
                     std::byte* to);
};

const PackKernel& PortablePackKernel();
const PackKernel& Avx2PackKernel();
const PackKernel& Avx512PackKernel();

}  // namespace lfm2
