// int8 and int4 weights with AMX, for many tokens: TDPBSSD multiplies 16 tokens by 16 rows over a
// group of 32 columns. Its sums are integers, and the rest is computed as in the AVX-512 kernels,
// so a row is the same from both.
#include <immintrin.h>

#include "model/kernels/matmul/amx_tiles.h"
#include "model/kernels/matmul/avx512_lanes.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int64_t kGroup = 32;
constexpr int64_t kGroupsOfStep = 2;
constexpr int64_t kTileTokens = 16;
constexpr int64_t kRoundedBytes = kTileTokens * kGroup;  // of a group
constexpr int64_t kUnpackedBytes = 16 * kGroup;          // of a group of a panel, as int8

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Both make [8 quads][16 rows][4 columns] int8 of a group.
struct Int8Weights {
  static constexpr int64_t kStepBytes = kInt8StepBytes;
  static constexpr int64_t kGroupBytes = 512;
  static void Unpack(const std::byte* group, std::byte* to) {
    const __m512i sign = _mm512_set1_epi8(-128);
    for (int64_t i = 0; i < 512; i += 64) {
      _mm512_store_si512(to + i, _mm512_xor_si512(_mm512_load_si512(group + i), sign));
    }
  }
};

struct Int4Weights {
  static constexpr int64_t kStepBytes = kInt4StepBytes;
  static constexpr int64_t kGroupBytes = 256;
  static void Unpack(const std::byte* group, std::byte* to) {
    const __m512i mask = _mm512_set1_epi8(15);
    const __m512i offset = _mm512_set1_epi8(8);
    for (int64_t i = 0; i < 256; i += 64) {
      const __m512i both = _mm512_load_si512(group + i);
      const __m512i low = _mm512_and_si512(both, mask);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
      _mm512_store_si512(to + i, _mm512_sub_epi8(low, offset));
      _mm512_store_si512(to + 256 + i, _mm512_sub_epi8(high, offset));
    }
  }
};

template <typename Weights>
struct AmxInt {
  // [groups][16 tokens][32 columns] int8, then [groups][16 tokens] float32 scales; zeros for tokens
  // that are missing.
  static int64_t TileBytes(int64_t, int64_t steps) {
    return kGroupsOfStep * steps * (kRoundedBytes + kTileTokens * 4);
  }

  static int64_t PanelsAtOnce(int64_t) { return 4; }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    const int64_t groups = kGroupsOfStep * steps;
    float* scales = reinterpret_cast<float*>(tile + groups * kRoundedBytes);
    for (int64_t g = 0; g < groups; ++g, scales += kTileTokens) {
      const int64_t left = cols - g * kGroup;
      for (int64_t t = 0; t < kTileTokens; ++t, tile += kGroup) {
        RoundedGroup group = {};
        if (t < tokens) {
          RoundGroup(x + t * cols + (left > 0 ? g * kGroup : 0), FirstOf16(left),
                     FirstOf16(left - 16), &group);
        }
        __builtin_memcpy(tile, group.quads, kGroup);
        scales[t] = group.scale;
      }
    }
  }

  // How many panels and steps are unpacked at once, into 16 KB that stay in the first-level cache
  // while all tiles of tokens are multiplied.
  static constexpr int64_t kPanels = 2;
  static constexpr int64_t kStretch = 8;

  static void Run(const PanelTask& task, const PanelRange& range) {
    static constexpr TileConfig kConfig = [] {
      TileConfig config;
      for (int i = 0; i < 2; ++i) {
        config.row_bytes[i] = 64;  // sums
        config.rows[i] = 16;
        config.row_bytes[2 + i] = kGroup;  // activations
        config.rows[2 + i] = 16;
        config.row_bytes[4 + i] = 64;  // weights
        config.rows[4 + i] = kGroup / 4;
      }
      return config;
    }();
    const TileScope scope(kConfig);
    const int64_t at_once = range.tile_end - range.tile_begin == 1 ? 1 : kPanels;
    for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += at_once) {
      const int64_t panel_end = Least(panel + at_once, range.panel_end);
      for (int64_t step = range.step_begin; step < range.step_end; step += kStretch) {
        RunPanels(task, range, panel, panel_end, step, Least(kStretch, range.step_end - step));
      }
    }
  }

 private:
  static void RunPanels(const PanelTask& task, const PanelRange& range, int64_t panel,
                        int64_t panel_end, int64_t step, int64_t steps) {
    alignas(64) std::byte unpacked[kPanels][kStretch * kGroupsOfStep * kUnpackedBytes];
    for (int64_t p = panel; p < panel_end; ++p) {
      const std::byte* from =
          task.weights + p * task.panel_bytes + step * Weights::kStepBytes + kScaleBytes;
      std::byte* to = unpacked[p - panel];
      for (int64_t s = 0; s < steps; ++s, from += Weights::kStepBytes) {
        Weights::Unpack(from, to);
        Weights::Unpack(from + Weights::kGroupBytes, to + kUnpackedBytes);
        to += kGroupsOfStep * kUnpackedBytes;
      }
    }
    for (int64_t i = range.tile_begin; i < range.tile_end; ++i) {
      for (int64_t p = panel; p < panel_end; ++p)
        Multiply(task, i, p, step, steps, unpacked[p - panel]);
    }
  }

  // Whole sums of 16 tokens times 16 rows over both groups of a step.
  struct alignas(64) Dots {
    int32_t values[kGroupsOfStep][kTileTokens][16];
  };

  static inline __attribute__((always_inline)) void Start(const std::byte* a, const std::byte* w,
                                                          Dots* dots) {
    _tile_zero(0);
    _tile_loadd(2, a, kGroup);
    _tile_loadd(4, w, 64);
    _tile_dpbssd(0, 2, 4);
    _tile_zero(1);
    _tile_loadd(3, a + kRoundedBytes, kGroup);
    _tile_loadd(5, w + kUnpackedBytes, 64);
    _tile_dpbssd(1, 3, 5);
    _tile_stored(0, dots->values[0], 64);
    _tile_stored(1, dots->values[1], 64);
  }

  static void Multiply(const PanelTask& task, int64_t i, int64_t panel, int64_t step, int64_t steps,
                       const std::byte* w) {
    const int64_t token = TileBegin(task.tokens, task.tiles, i);
    const int64_t tokens = TileBegin(task.tokens, task.tiles, i + 1) - token;
    const __mmask16 exist = FirstOf16(task.rows - panel * 16);
    float* const y = task.y + token * task.rows + panel * 16;
    __m512 sums[kTileTokens];
    Unrolled<kTileTokens>([&](auto t) __attribute__((always_inline)) {
      sums[t] = step > 0 && t < tokens ? _mm512_maskz_loadu_ps(exist, y + t * task.rows)
                                       : _mm512_setzero_ps();
    });
    const std::byte* const tile = task.activations + i * task.tile_bytes;
    const std::byte* a = tile + kGroupsOfStep * step * kRoundedBytes;
    const float* token_scales =
        reinterpret_cast<const float*>(tile + kGroupsOfStep * task.steps * kRoundedBytes) +
        kGroupsOfStep * step * kTileTokens;
    const std::byte* row_scales =
        task.weights + panel * task.panel_bytes + step * Weights::kStepBytes;
    // One step ahead, so that arithmetic hides the tiles' latency.
    Dots dots[2];
    Start(a, w, &dots[0]);
    for (int64_t s = 0; s < steps; ++s) {
      a += kGroupsOfStep * kRoundedBytes;
      w += kGroupsOfStep * kUnpackedBytes;
      if (s + 1 < steps) Start(a, w, &dots[(s + 1) % 2]);
      for (int64_t g = 0; g < kGroupsOfStep; ++g, token_scales += kTileTokens) {
        const __m512 row_scale = _mm512_cvtph_ps(
            _mm256_load_si256(reinterpret_cast<const __m256i*>(row_scales + g * 32)));
        const auto& values = dots[s % 2].values[g];
        Unrolled<kTileTokens>([&](auto t) __attribute__((always_inline)) {
          const __m512 scale = _mm512_mul_ps(row_scale, _mm512_set1_ps(token_scales[t]));
          sums[t] =
              _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(values[t])), scale, sums[t]);
        });
      }
      row_scales += Weights::kStepBytes;
    }
    Unrolled<kTileTokens>([&](auto t) __attribute__((always_inline)) {
      if (t < tokens) _mm512_mask_storeu_ps(y + t * task.rows, exist, sums[t]);
    });
  }
};

template <typename Weights>
constexpr PanelKernel MakeKernel() {
  using Kernel = AmxInt<Weights>;
  return {kTileTokens, &Kernel::TileBytes, &Kernel::PanelsAtOnce, &Kernel::Pack, &Kernel::Run};
}

}  // namespace

const PanelKernel* AmxInt8Kernel(int) {
  static constexpr PanelKernel kKernel = MakeKernel<Int8Weights>();
  return &kKernel;
}

const PanelKernel* AmxInt4Kernel(int) {
  static constexpr PanelKernel kKernel = MakeKernel<Int4Weights>();
  return &kKernel;
}

}  // namespace lfm2
