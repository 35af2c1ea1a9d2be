// int8 and int4 weights with AVX2.
//
// VPMADDUBSW adds two products of unsigned and signed bytes in 16 bits. For int4 (0..15 times
// -127..127) a whole group of 32 fits: 8 * 2 * 15 * 127 = 30,480. For int8 one instruction may
// already overflow, so weights and activations are widened to 16 bits, columns 0 and 2 of a quad in
// one register, 1 and 3 in another, and VPMADDWD adds them in 32.
#include <immintrin.h>

#include "model/kernels/matmul/avx2_lanes.h"

namespace lfm2 {
namespace {

constexpr int kGroup = 32;
inline __m128i HighHalf(__m256i x) { return _mm256_extracti128_si256(x, 1); }

inline int LargestOf(__m256i x) {
  __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), HighHalf(x));
  y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xB1)));
}

inline int SumOf(__m256i x) {
  __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x), HighHalf(x));
  y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xB1)));
}

// One token's 32 values as signed bytes, with their scale and start.
struct RoundedGroup {
  __m256i q;
  int32_t sum;
  float scale;
};

// x: `n` values; missing values up to 32 count as zero.
inline RoundedGroup RoundGroup(const float* x, int64_t n) {
  __m256 values[4];
  __m256i largest_bits = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    values[i] = n >= (i + 1) * 8 ? _mm256_loadu_ps(x + i * 8)
                                 : _mm256_maskload_ps(x + i * 8, FirstOf8(n - i * 8));
    // As integers, so that infinities and NaNs are the largest.
    largest_bits = _mm256_max_epi32(largest_bits, _mm256_and_si256(_mm256_castps_si256(values[i]),
                                                                   _mm256_set1_epi32(0x7fffffff)));
  }
  const int bits = LargestOf(largest_bits);
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  const bool finite = bits < 0x7f800000;
  const bool zero = !finite || !(largest >= 1e-35F);
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0F : 127.0F / largest);
  // A group that counts as zero may still contain infinities, so its values are not used.
  const __m256i use = _mm256_set1_epi32(zero ? 0 : -1);
  __m256i q[4];
  for (int i = 0; i < 4; ++i) {
    q[i] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(values[i], inverse)), use);
  }
  RoundedGroup group;
  group.sum = SumOf(_mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3])));
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  group.q = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  group.scale = finite ? (zero ? 0.0F : largest / 127.0F) : __builtin_nanf("");
  return group;
}

inline void Scatter(__m256i words, int64_t stride, int32_t* to) {
  alignas(32) int32_t each[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(each), words);
  for (int64_t i = 0; i < 8; ++i) to[i * stride] = each[i];
}

// Stops the compiler from deferring the additions, which would spill registers.
inline __attribute__((always_inline)) void Settle(__m256i& sum) { asm volatile("" : "+x"(sum)); }

inline __m256i LoadHalf(const std::byte* at) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
}

// A tile's activations of a group: [8 quads][2][T] x 2 int16 (columns 0 and 2, then 1 and 3).
struct Int8Weights {
  static constexpr int kOffset = 128;
  static constexpr int64_t kStepBytes = kInt8StepBytes;
  static constexpr int64_t kGroupBytes = 512;
  static constexpr int kWords = 16;  // 4-byte words of one token's activations in a group

  static void Store(__m256i q, int64_t tokens, int32_t* to) {
    Scatter(_mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8), 2 * tokens, to);
    Scatter(_mm256_srai_epi16(q, 8), 2 * tokens, to + tokens);
  }

  template <int T>
  static inline __attribute__((always_inline)) void Dot(const std::byte* group, const int32_t* a,
                                                        __m256i (&dots)[T][kHalves]) {
    Unrolled<T>([&](auto t) __attribute__((always_inline)) {
      dots[t][0] = dots[t][1] = _mm256_set1_epi32(a[kWords * T + t]);
    });
    const __m256i low = _mm256_set1_epi16(255);
    for (int quad = 0; quad < 8; ++quad, group += 64, a += 2 * T) {
      const __m256i w[kHalves] = {LoadHalf(group), LoadHalf(group + 32)};
      Unrolled<2>([&](auto odd) __attribute__((always_inline)) {
        __m256i wide[kHalves];
        Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
          wide[h] = odd == 0 ? _mm256_and_si256(w[h], low) : _mm256_srli_epi16(w[h], 8);
        });
        Unrolled<T>([&](auto t) __attribute__((always_inline)) {
          const __m256i columns = _mm256_set1_epi32(a[odd * T + t]);
          Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
            dots[t][h] = _mm256_add_epi32(dots[t][h], _mm256_madd_epi16(wide[h], columns));
            Settle(dots[t][h]);
          });
        });
      });
    }
  }
};

// A tile's activations of a group: [8 quads][T] x 4 int8.
struct Int4Weights {
  static constexpr int kOffset = 8;
  static constexpr int64_t kStepBytes = kInt4StepBytes;
  static constexpr int64_t kGroupBytes = 256;
  static constexpr int kWords = 8;

  static void Store(__m256i q, int64_t tokens, int32_t* to) { Scatter(q, tokens, to); }

  template <int T>
  static inline __attribute__((always_inline)) void Dot(const std::byte* group, const int32_t* a,
                                                        __m256i (&dots)[T][kHalves]) {
    __m256i narrow[T][kHalves];
    Unrolled<T>([&](auto t) __attribute__((always_inline)) {
      narrow[t][0] = narrow[t][1] = _mm256_setzero_si256();
    });
    const __m256i low = _mm256_set1_epi8(15);
    const int32_t* const starts = a + kWords * T;
    for (int i = 0; i < 4; ++i, group += 64, a += T) {
      Unrolled<2>([&](auto high) __attribute__((always_inline)) {
        __m256i w[kHalves];
        Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
          const __m256i both = LoadHalf(group + h * 32);
          w[h] = _mm256_and_si256(high == 0 ? both : _mm256_srli_epi16(both, 4), low);
        });
        Unrolled<T>([&](auto t) __attribute__((always_inline)) {
          const __m256i columns = _mm256_set1_epi32(a[high * 4 * T + t]);
          Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
            narrow[t][h] = _mm256_add_epi16(narrow[t][h], _mm256_maddubs_epi16(w[h], columns));
            Settle(narrow[t][h]);
          });
        });
      });
    }
    const __m256i ones = _mm256_set1_epi16(1);
    Unrolled<T>([&](auto t) __attribute__((always_inline)) {
      const __m256i start = _mm256_set1_epi32(starts[t]);
      Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
        dots[t][h] = _mm256_add_epi32(start, _mm256_madd_epi16(narrow[t][h], ones));
      });
    });
  }
};

// kFewPanels: how many panels are computed at once for one token.
template <typename Weights, int kFewPanels>
struct Avx2IntKernel {
  static constexpr int kMaxTokens = 5;
  static constexpr int64_t kAheadBytes = kLoneTileAhead;
  static constexpr int64_t kTokenGroupWords = Weights::kWords + 2;  // with start and scale
  static constexpr int64_t kStepBytes = Weights::kStepBytes;
  static constexpr int64_t kTokenStepBytes = 2 * kTokenGroupWords * 4;
  static constexpr int64_t PanelsAtOnce(int64_t tokens) {
    if (tokens > 1) return 1;
    return kFewPanels;
  }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    int32_t* to = reinterpret_cast<int32_t*>(tile);
    for (int64_t g = 0; g < 2 * steps; ++g, to += tokens * kTokenGroupWords) {
      const int64_t left = cols - g * kGroup;
      float* const scales = reinterpret_cast<float*>(to + (Weights::kWords + 1) * tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        const RoundedGroup group = RoundGroup(x + t * cols + (left > 0 ? g * kGroup : 0), left);
        Weights::Store(group.q, tokens, to + t);
        to[Weights::kWords * tokens + t] = -Weights::kOffset * group.sum;
        scales[t] = group.scale;
      }
    }
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    __m256 sums[P][T][kHalves];
    ForEachSum<T, P>([&](auto t, auto p, auto h) __attribute__((always_inline)) {
      sums[p][t][h] = tile.resume ? _mm256_maskload_ps(tile.y + t * tile.y_row + p * 16 + h * 8,
                                                       FirstOf8(tile.rows - p * 16 - h * 8))
                                  : _mm256_setzero_ps();
    });
    const std::byte* step = tile.weights;
    const std::byte* next = tile.next;
    const int32_t* a = reinterpret_cast<const int32_t*>(tile.activations);
    for (int64_t i = 0; i < tile.steps; ++i, step += kStepBytes) {
      if (next != nullptr) {
        FetchStep<P, kStepBytes>(next, tile.panel_bytes);
        next += kStepBytes;
      }
      for (int g = 0; g < 2; ++g, a += T * kTokenGroupWords) {
        Unrolled<P>([&](auto p) __attribute__((always_inline)) {
          const std::byte* const weights = step + p * tile.panel_bytes;
          __m256i dots[T][kHalves];
          Weights::template Dot<T>(weights + kScaleBytes + g * Weights::kGroupBytes, a, dots);
          // The float sums do not fit into registers beside the integer sums; told that they are in
          // memory, the compiler does not move both back and forth.
          if constexpr (T > 1) asm volatile("" : : "r"(&sums) : "memory");
          AddScaled<T>(weights + g * 32,
                       reinterpret_cast<const float*>(a + (Weights::kWords + 1) * T), dots,
                       sums[p]);
        });
      }
    }
    ForEachSum<T, P>([&](auto t, auto p, auto h) __attribute__((always_inline)) {
      _mm256_maskstore_ps(tile.y + t * tile.y_row + p * 16 + h * 8,
                          FirstOf8(tile.rows - p * 16 - h * 8), sums[p][t][h]);
    });
  }

  template <int T>
  static inline __attribute__((always_inline)) void AddScaled(const std::byte* scales,
                                                              const float* token_scales,
                                                              const __m256i (&dots)[T][kHalves],
                                                              __m256 (&sums)[T][kHalves]) {
    Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) {
      const __m256 row_scales =
          _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(scales + h * 16)));
      Unrolled<T>([&](auto t) __attribute__((always_inline)) {
        const __m256 scale = _mm256_mul_ps(row_scales, _mm256_broadcast_ss(token_scales + t));
        sums[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[t][h]), scale, sums[t][h]);
      });
    });
  }
};

}  // namespace

const PanelKernel* Avx2Int8Kernel(int streams) {
  return KernelOfStreams<Avx2IntKernel<Int8Weights, 1>, Avx2IntKernel<Int8Weights, 2>>(streams);
}

const PanelKernel* Avx2Int4Kernel(int streams) {
  return KernelOfStreams<Avx2IntKernel<Int4Weights, 1>, Avx2IntKernel<Int4Weights, 2>>(streams);
}

}  // namespace lfm2
