// The loops of PackKernel, written once and compiled in each instruction set's file. `Own` is a
// type that only that file has, so that the linker cannot mix the copies of two instruction sets.
#pragma once

#include "model/kernels/matmul/pack_kernel.h"

namespace lfm2 {

template <typename Own>
struct PackLoop {
  static constexpr PackKernel Kernel() {
    return {&FiniteBFloat16, &WidenBFloat16, &Largest,   &RoundBFloat16,
            &RoundInt8,      &RoundInt4,     &Interleave};
  }

 private:
  static constexpr int kGroup = 32;
  static constexpr int kPanelRows = 16;
  static constexpr uint32_t kMagnitude = 0x7fffffffU;
  static constexpr uint32_t kInfinity = 0x7f800000U;
  using Quad = uint32_t __attribute__((vector_size(16)));

  template <typename To, typename From>
  static inline __attribute__((always_inline)) To As(const From& from) {
    To to;
    static_assert(sizeof(to) == sizeof(from));
    __builtin_memcpy(&to, &from, sizeof(to));
    return to;
  }

  static inline __attribute__((always_inline)) uint16_t Load16(const std::byte* from) {
    uint16_t value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
  }

  static bool FiniteBFloat16(const std::byte* row, int64_t n) {
    constexpr uint16_t kExponent = 0x7f80U;
    uint16_t bad = 0;
    for (int64_t i = 0; i < n; ++i) {
      bad = static_cast<uint16_t>(bad | ((Load16(row + i * 2) & kExponent) == kExponent ? 1 : 0));
    }
    return bad == 0;
  }

  static void WidenBFloat16(const std::byte* row, int64_t n, float* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = As<float>(uint32_t{Load16(row + i * 2)} << 16);
  }

  static inline __attribute__((always_inline)) int32_t LargestBits(const float* row, int64_t n) {
    int32_t largest = 0;  // as integers, so that infinities and NaNs are the largest
    for (int64_t i = 0; i < n; ++i) {
      const int32_t bits = static_cast<int32_t>(As<uint32_t>(row[i]) & kMagnitude);
      largest = bits > largest ? bits : largest;
    }
    return largest;
  }

  static uint32_t Largest(const float* row, int64_t n) {
    return static_cast<uint32_t>(LargestBits(row, n));
  }

  static void RoundBFloat16(const float* row, int64_t n, uint16_t* to) {
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t bits = As<uint32_t>(row[i]);
      to[i] = static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
    }
  }

  // 1 / scale; 0 when the group's magnitude is too small for a float32 quotient.
  static inline __attribute__((always_inline)) float Inverse(float scale) {
    const float inverse = 1.0F / scale;
    return (As<uint32_t>(inverse) & kMagnitude) < kInfinity ? inverse : 0.0F;
  }

  // How many groups' scales are divided at once.
  static constexpr int kTogether = 16;

  // largest_of(values): a group's largest number; round(values, inverse, to): the group.
  template <typename LargestOf, typename Round>
  static inline __attribute__((always_inline)) void EachGroup(const float* row, int64_t groups,
                                                              float divisor, float* scales,
                                                              LargestOf largest_of, Round round) {
    for (int64_t g = 0; g < groups; g += kTogether) {
      const int count = groups - g < kTogether ? static_cast<int>(groups - g) : kTogether;
      float largest[kTogether] = {}, inverse[kTogether];
      for (int i = 0; i < count; ++i) largest[i] = largest_of(row + (g + i) * kGroup);
      for (int i = 0; i < kTogether; ++i) {
        largest[i] = largest[i] / divisor;
        inverse[i] = Inverse(largest[i]);
      }
      for (int i = 0; i < count; ++i) {
        scales[g + i] = largest[i];
        round(row + (g + i) * kGroup, inverse[i], g + i);
      }
    }
  }

  static void RoundInt8(const float* row, int64_t groups, int8_t* q, float* scales) {
    const auto largest_of = [](const float* values) __attribute__((always_inline)) {
      return As<float>(LargestBits(values, kGroup));
    };
    const auto round = [&](const float* values, float inverse, int64_t g)
        __attribute__((always_inline)) {
      // Rounds to nearest, half away from zero. It adds the largest float below a half, so that the
      // sum reaches the next whole number exactly when the fraction is at least a half.
      constexpr uint32_t kBelowHalf = 0x3effffffU;
      int32_t rounded[kGroup];
      for (int i = 0; i < kGroup; ++i) {
        const float x = values[i] * inverse;
        rounded[i] =
            static_cast<int32_t>(x + As<float>((As<uint32_t>(x) & ~kMagnitude) | kBelowHalf));
      }
      for (int i = 0; i < kGroup; ++i) q[g * kGroup + i] = static_cast<int8_t>(rounded[i]);
    };
    EachGroup(row, groups, 127.0F, scales, largest_of, round);
  }

  // The first of a group's values that has the largest magnitude.
  static inline __attribute__((always_inline)) float LargestOf(const float* row) {
    int32_t above = INT32_MIN, below = INT32_MIN;  // the largest of the numbers, of their opposites
    for (int i = 0; i < kGroup; ++i) {
      const int32_t bits = As<int32_t>(row[i]);
      above = bits > above ? bits : above;
      below = (bits ^ INT32_MIN) > below ? bits ^ INT32_MIN : below;
    }
    if (__builtin_expect(above != below, 1)) {
      return As<float>(above > below ? above : below ^ INT32_MIN);
    }
    int i = 0;
    while ((As<int32_t>(row[i]) & INT32_MAX) != above) ++i;
    return row[i];
  }

  static void RoundInt4(const float* row, int64_t groups, uint8_t* pairs, float* scales) {
    constexpr int kHalf = kGroup / 2;
    const auto largest_of = [](const float* values) __attribute__((always_inline)) {
      return LargestOf(values);
    };
    const auto round = [&](const float* values, float inverse, int64_t g)
        __attribute__((always_inline)) {
      int32_t q[kGroup];
      for (int i = 0; i < kGroup; ++i) {
        const int rounded = static_cast<int>(values[i] * inverse + 8.5F);
        q[i] = rounded < 15 ? rounded : 15;
      }
      for (int i = 0; i < kHalf; ++i) {
        pairs[g * kHalf + i] = static_cast<uint8_t>(q[i] | q[i + kHalf] << 4);
      }
    };
    EachGroup(row, groups, -8.0F, scales, largest_of, round);
  }

  // Words 0..3 of four rows.
  static inline __attribute__((always_inline)) void Turn(const std::byte* const* rows,
                                                         int64_t offset, Quad flip, std::byte* to) {
    Quad in[4];
    for (int r = 0; r < 4; ++r) {
      __builtin_memcpy(&in[r], rows[r] + offset, sizeof(Quad));
      in[r] ^= flip;
    }
    const Quad low01 = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5);
    const Quad low23 = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
    const Quad high01 = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7);
    const Quad high23 = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
    const Quad out[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                         __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                         __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                         __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
    for (int w = 0; w < 4; ++w) __builtin_memcpy(to + w * 64, &out[w], sizeof(Quad));
  }

  static void Interleave(const std::byte* const* rows, int64_t offset, int64_t words, uint32_t flip,
                         std::byte* to) {
    const Quad flips = {flip, flip, flip, flip};
    int64_t word = 0;
    // Reads each cache line of a row only once, because rows that map to the same cache set would
    // evict it.
    for (; word + 16 <= words; word += 16) {
      for (int r = 0; r < kPanelRows; r += 4) {
        for (int64_t w = word; w < word + 16; w += 4) {
          Turn(rows + r, offset + w * 4, flips, to + w * 64 + r * 4);
        }
      }
    }
    for (; word + 4 <= words; word += 4) {
      for (int r = 0; r < kPanelRows; r += 4) {
        Turn(rows + r, offset + word * 4, flips, to + word * 64 + r * 4);
      }
    }
    for (; word < words; ++word) {
      for (int r = 0; r < kPanelRows; ++r) {
        uint32_t bits;
        __builtin_memcpy(&bits, rows[r] + offset + word * 4, sizeof(bits));
        bits ^= flip;
        __builtin_memcpy(to + word * 64 + r * 4, &bits, sizeof(bits));
      }
    }
  }
};

}  // namespace lfm2
