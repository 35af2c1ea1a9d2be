// bfloat16 weights with AMX: TDPBF16PS multiplies 16 tokens by 16 rows over 32 columns. Also used
// for fewer tokens, because memory is then slower than the tiles.
//
// The instruction sums the even and the odd columns of a block of 32 separately, each as a chain of
// fused multiply-adds from zero, adds both sums and then adds the result to the sum so far. Numbers
// below 2^-126 count as zero (Intel's manual, TDPBF16PS).
#include <immintrin.h>

#include "model/kernels/matmul/amx_tiles.h"
#include "model/kernels/matmul/avx512_lanes.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int64_t kTileTokens = 16;
constexpr int64_t kTileBytes = 1024;
constexpr int64_t kBlockColumns = 32;
constexpr int64_t kBlockSteps = 4;
static_assert(kBlockSteps * kFloatStepBytes == kTileBytes && kRangeSteps % kBlockSteps == 0);

inline int64_t BlocksOf(int64_t steps) { return (steps + kBlockSteps - 1) / kBlockSteps; }

// 32 columns of one token, rounded to nearest even, zeros past the last.
inline __m512i RoundBlock(const float* x, int64_t columns) {
  const __m512 low = _mm512_maskz_loadu_ps(FirstOf16(columns), x);
  const __m512 high = _mm512_maskz_loadu_ps(FirstOf16(columns - 16), x + 16);
  const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
  __m512i out;
  __builtin_memcpy(&out, &rounded, sizeof(out));
  return out;
}

struct AmxBF16 {
  // [blocks of 32 columns][16 tokens][32 columns], zeros for missing tokens.
  static int64_t TileBytes(int64_t, int64_t steps) { return BlocksOf(steps) * kTileBytes; }

  static int64_t PanelsAtOnce(int64_t) { return 4; }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    for (int64_t block = 0; block < BlocksOf(steps); ++block) {
      const int64_t column = block * kBlockColumns;
      for (int64_t t = 0; t < kTileTokens; ++t, tile += 64) {
        const __m512i row =
            t < tokens ? RoundBlock(x + t * cols + column, cols - column) : _mm512_setzero_si512();
        _mm512_store_si512(tile, row);
      }
    }
  }

  // A block of panels and a stretch of columns stay in the second-level cache while all tiles of
  // tokens are multiplied; the activations of two tiles stay in the first-level cache while the
  // panels are read.
  static constexpr int64_t kPanels = 8;
  static constexpr int64_t kStretchBlocks = 64;
  static constexpr int64_t kAhead = 8 << 10;  // bytes

  static void Run(const PanelTask& task, const PanelRange& range) {
    static constexpr TileConfig kConfig = [] {
      TileConfig config;
      for (int i = 0; i < 8; ++i) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
      }
      return config;
    }();
    const TileScope scope(kConfig);
    const Columns all{range.step_begin / kBlockSteps, BlocksOf(range.step_end)};
    const bool one_pair = range.tile_end - range.tile_begin <= 2;
    const int64_t stretch = one_pair ? all.end - all.begin : kStretchBlocks;
    const int64_t at_once = one_pair ? 2 : kPanels;
    for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += at_once) {
      const int64_t panel_end = Least(panel + at_once, range.panel_end);
      for (int64_t block = all.begin; block < all.end; block += stretch) {
        const Columns columns{block, Least(block + stretch, all.end)};
        for (int64_t i = range.tile_begin; i < range.tile_end; i += 2) {
          RunPanels(task, columns, panel, panel_end, i, Least(i + 2, range.tile_end));
        }
      }
    }
  }

 private:
  struct Columns {
    int64_t begin, end;  // blocks
  };

  static int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

  static void RunPanels(const PanelTask& task, Columns columns, int64_t panel, int64_t panel_end,
                        int64_t tile, int64_t tile_end) {
    const bool two = tile_end - tile == 2;
    for (; panel + 2 <= panel_end; panel += 2) {
      two ? Multiply<2, 2>(task, columns, panel, tile) : Multiply<1, 2>(task, columns, panel, tile);
    }
    if (panel < panel_end) {
      two ? Multiply<2, 1>(task, columns, panel, tile) : Multiply<1, 1>(task, columns, panel, tile);
    }
  }

  // Where 16 x 16 sums are stored between two stretches: in y itself, or in a separate buffer if
  // the tile has fewer tokens or the panel fewer rows.
  struct Sums {
    Sums(const PanelTask& task, int64_t panel, int64_t tile) {
      const int64_t token = TileBegin(task.tokens, task.tiles, tile);
      y = task.y + token * task.rows + panel * 16;
      y_row = task.rows;
      tokens = TileBegin(task.tokens, task.tiles, tile + 1) - token;
      rows = Least(task.rows - panel * 16, 16);
      whole = tokens == kTileTokens && rows == 16;
      data = whole ? y : copy;
      row_bytes = whole ? y_row * 4 : 64;
    }
    void Begin() {
      if (whole) return;
      for (int64_t t = 0; t < kTileTokens; ++t) {
        const bool there = t < tokens;
        _mm512_store_ps(copy + t * 16, there ? _mm512_maskz_loadu_ps(FirstOf16(rows), y + t * y_row)
                                             : _mm512_setzero_ps());
      }
    }
    void End() const {
      if (whole) return;
      for (int64_t t = 0; t < tokens; ++t) {
        _mm512_mask_storeu_ps(y + t * y_row, FirstOf16(rows), _mm512_load_ps(copy + t * 16));
      }
    }
    float* y;
    int64_t y_row;
    int64_t tokens, rows;
    bool whole;
    float* data;
    int64_t row_bytes;
    alignas(64) float copy[256];
  };

  // T tiles times P panels: sums in tiles 0..3, activations in 4 and 5, weights in 6 and 7.
  template <int T, int P>
  static void Multiply(const PanelTask& task, Columns columns, int64_t panel, int64_t tile) {
    const bool resume = columns.begin > 0;
    Sums sums00(task, panel, tile);
    Sums sums01(task, panel + P - 1, tile);
    Sums sums10(task, panel, tile + T - 1);
    Sums sums11(task, panel + P - 1, tile + T - 1);
    Load<T, P>(resume, sums00, sums01, sums10, sums11);
    const std::byte* a = task.activations + tile * task.tile_bytes + columns.begin * kTileBytes;
    const std::byte* w = task.weights + panel * task.panel_bytes + columns.begin * kTileBytes;
    const int64_t whole = Least(columns.end, task.steps / kBlockSteps) - columns.begin;
    for (int64_t block = 0; block < whole; ++block, a += kTileBytes, w += kTileBytes) {
      // With one tile of tokens memory is the bottleneck, and prefetching helps.
      for (int64_t p = 0; T == 1 && p < P; ++p) {
        for (int64_t line = 0; line < kTileBytes; line += 64) {
          __builtin_prefetch(w + p * task.panel_bytes + kAhead + line, 0, 2);
        }
      }
      MultiplyBlock<T, P>(a, task.tile_bytes, w, task.panel_bytes);
    }
    if (columns.begin + whole < columns.end) {
      // The panel ends within this block; the rest is zeros.
      alignas(64) std::byte rest[P][kTileBytes] = {};
      for (int p = 0; p < P; ++p) {
        __builtin_memcpy(rest[p], w + p * task.panel_bytes,
                         static_cast<size_t>(task.steps % kBlockSteps * kFloatStepBytes));
      }
      MultiplyBlock<T, P>(a, task.tile_bytes, rest[0], kTileBytes);
    }
    _tile_stored(0, sums00.data, sums00.row_bytes);
    if constexpr (P == 2) _tile_stored(1, sums01.data, sums01.row_bytes);
    if constexpr (T == 2) _tile_stored(2, sums10.data, sums10.row_bytes);
    if constexpr (T == 2 && P == 2) _tile_stored(3, sums11.data, sums11.row_bytes);
    sums00.End();
    if constexpr (P == 2) sums01.End();
    if constexpr (T == 2) sums10.End();
    if constexpr (T == 2 && P == 2) sums11.End();
  }

  template <int T, int P>
  static void Load(bool resume, Sums& sums00, Sums& sums01, Sums& sums10, Sums& sums11) {
    if (!resume) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      return;
    }
    sums00.Begin();
    _tile_loadd(0, sums00.data, sums00.row_bytes);
    if constexpr (P == 2) {
      sums01.Begin();
      _tile_loadd(1, sums01.data, sums01.row_bytes);
    }
    if constexpr (T == 2) {
      sums10.Begin();
      _tile_loadd(2, sums10.data, sums10.row_bytes);
    }
    if constexpr (T == 2 && P == 2) {
      sums11.Begin();
      _tile_loadd(3, sums11.data, sums11.row_bytes);
    }
  }

  template <int T, int P>
  static inline __attribute__((always_inline)) void MultiplyBlock(const std::byte* a,
                                                                  int64_t next_tile,
                                                                  const std::byte* w,
                                                                  int64_t next_panel) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (P == 2) {
      _tile_loadd(7, w + next_panel, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (T == 2) {
      _tile_loadd(5, a + next_tile, 64);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (T == 2 && P == 2) _tile_dpbf16ps(3, 5, 7);
  }
};

}  // namespace

const PanelKernel* AmxBF16Kernel(int) {
  static constexpr PanelKernel kKernel = {kTileTokens, &AmxBF16::TileBytes, &AmxBF16::PanelsAtOnce,
                                          &AmxBF16::Pack, &AmxBF16::Run};
  return &kKernel;
}

}  // namespace lfm2
