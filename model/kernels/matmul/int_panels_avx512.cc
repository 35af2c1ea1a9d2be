// int8 and int4 weights with AVX-512 VNNI: unsigned weights times signed activations, four columns
// per instruction, 16 rows per register.
#include <immintrin.h>

#include "model/kernels/matmul/avx512_lanes.h"
#include "model/kernels/matmul/avx512_sums.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int kGroup = 32;

// A tile's activations, group by group: [8 quads][T] x 4 int8, [T] int32 start, [T] float32 scale.
// The start is the negated contribution of the weights' offset to the integer sum.
constexpr int64_t kTokenGroupBytes = kGroup + 2 * 4;

void PackGroups(const float* x, int64_t cols, int64_t tokens, int64_t steps, int32_t offset,
                std::byte* tile) {
  int32_t* to = reinterpret_cast<int32_t*>(tile);
  for (int64_t g = 0; g < 2 * steps; ++g, to += tokens * (kTokenGroupBytes / 4)) {
    const int64_t left = cols - g * kGroup;
    const __mmask16 low = FirstOf16(left);
    const __mmask16 high = FirstOf16(left - 16);
    float* const scales = reinterpret_cast<float*>(to + 9 * tokens);
    for (int64_t t = 0; t < tokens; ++t) {
      RoundedGroup group;
      RoundGroup(x + t * cols + (left > 0 ? g * kGroup : 0), low, high, &group);
      for (int64_t quad = 0; quad < 8; ++quad) to[quad * tokens + t] = group.quads[quad];
      to[8 * tokens + t] = -offset * group.sum;
      scales[t] = group.scale;
    }
  }
}

struct Int8Weights {
  static constexpr int kOffset = 128;
  static constexpr int64_t kStepBytes = kInt8StepBytes;
  static constexpr int64_t kGroupBytes = 512;
  static constexpr int kLoads = 8;      // registers of a group in memory
  static constexpr int kParts = 1;      // registers that one becomes
  static constexpr int kPartQuads = 0;  // quads from one of these to the next
  static __m512i Part(__m512i loaded, int) { return loaded; }
};

struct Int4Weights {
  static constexpr int kOffset = 8;
  static constexpr int64_t kStepBytes = kInt4StepBytes;
  static constexpr int64_t kGroupBytes = 256;
  static constexpr int kLoads = 4;
  static constexpr int kParts = 2;
  static constexpr int kPartQuads = 4;
  static __m512i Part(__m512i loaded, int part) {
    const __m512i mask = _mm512_set1_epi8(15);
    return _mm512_and_si512(part == 0 ? loaded : _mm512_srli_epi16(loaded, 4), mask);
  }
};

// kFewPanels: how many panels are computed at once for few tokens.
template <typename Weights, int kFewPanels>
struct Avx512IntKernel {
  static constexpr int kMaxTokens = 12;
  static constexpr int64_t kAheadBytes = 0;
  static constexpr int64_t kStepBytes = Weights::kStepBytes;
  static constexpr int64_t kTokenStepBytes = 2 * kTokenGroupBytes;
  static constexpr int kSumsInRegisters = 8;
  static constexpr int64_t PanelsAtOnce(int64_t tokens) {
    if (tokens > 4) return 2;
    return kFewPanels;
  }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    PackGroups(x, cols, tokens, steps, Weights::kOffset, tile);
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    __m512 sums[T][P];
    LoadSums(tile, sums);
    const std::byte* weights = tile.weights;
    const std::byte* next = tile.next;
    const int32_t* a = reinterpret_cast<const int32_t*>(tile.activations);
    for (int64_t step = 0; step < tile.steps; ++step, weights += kStepBytes) {
      // With many tokens arithmetic is the bottleneck, and prefetching helps. With few tokens
      // memory is the bottleneck, and software prefetching only disturbs the stream.
      if (P > 1 && next != nullptr) {
        FetchStep<P, kStepBytes>(next, tile.panel_bytes);
        next += kStepBytes;
      }
      for (int g = 0; g < 2; ++g, a += T * (kTokenGroupBytes / 4)) {
        AddGroup<T, P>(weights + kScaleBytes + g * Weights::kGroupBytes, weights + g * 32,
                       tile.panel_bytes, a, sums);
      }
    }
    StoreSums(tile, sums);
  }

  template <int T, int P>
  static inline __attribute__((always_inline)) void AddGroup(const std::byte* group,
                                                             const std::byte* scales,
                                                             int64_t panel_bytes, const int32_t* a,
                                                             __m512 (&sums)[T][P]) {
    __m512i dots[T][P];
    Unrolled<T>([&](auto t) __attribute__((always_inline)) {
      Unrolled<P>([&](auto p) __attribute__((always_inline)) {
        dots[t][p] = _mm512_set1_epi32(a[8 * T + t]);
      });
    });
    Unrolled<Weights::kLoads>([&](auto i) __attribute__((always_inline)) {
      Unrolled<Weights::kParts>([&](auto part) __attribute__((always_inline)) {
        const int32_t* const quad = a + (i + part * Weights::kPartQuads) * T;
        __m512i w[P];
        Unrolled<P>([&](auto p) __attribute__((always_inline)) {
          w[p] = Weights::Part(_mm512_load_si512(group + p * panel_bytes + i * 64), part);
        });
        Unrolled<T>([&](auto t) __attribute__((always_inline)) {
          const __m512i columns = _mm512_set1_epi32(quad[t]);
          Unrolled<P>([&](auto p) __attribute__((always_inline)) {
            dots[t][p] = _mm512_dpbusd_epi32(dots[t][p], w[p], columns);
          });
        });
      });
    });
    // The float sums do not fit into registers beside this many integer sums. Unless told that they
    // are in memory, the compiler moves both back and forth.
    if constexpr (T * P > kSumsInRegisters) asm volatile("" : : "r"(&sums) : "memory");
    __m512 row_scales[P];
    Unrolled<P>([&](auto p) __attribute__((always_inline)) {
      row_scales[p] = _mm512_cvtph_ps(
          _mm256_load_si256(reinterpret_cast<const __m256i*>(scales + p * panel_bytes)));
    });
    const float* token_scales = reinterpret_cast<const float*>(a + 9 * T);
    Unrolled<T>([&](auto t) __attribute__((always_inline)) {
      const __m512 token_scale = _mm512_set1_ps(token_scales[t]);
      Unrolled<P>([&](auto p) __attribute__((always_inline)) {
        sums[t][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t][p]),
                                     _mm512_mul_ps(row_scales[p], token_scale), sums[t][p]);
      });
    });
  }
};

}  // namespace

const PanelKernel* Avx512Int8Kernel(int streams) {
  return KernelOfStreams<Avx512IntKernel<Int8Weights, 1>, Avx512IntKernel<Int8Weights, 2>>(streams);
}

const PanelKernel* Avx512Int4Kernel(int streams) {
  return KernelOfStreams<Avx512IntKernel<Int4Weights, 1>, Avx512IntKernel<Int4Weights, 2>>(streams);
}

}  // namespace lfm2
