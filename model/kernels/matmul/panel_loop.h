// The loops around a kernel's innermost one, the same for every instruction set and format.
//
// `Kernel` is a type with
//
//   kMaxTokens            most tokens of a tile
//   kStepBytes            weights of one panel in a step
//   kTokenStepBytes       activations of one token in a step
//   kAheadBytes           prefetch distance when there is only one tile; 0: the next step
//   PanelsAtOnce(tokens)  1, 2 or 4; not growing with `tokens`
//   RunTile<T, P>(tile)   T tokens times P panels
//
// Loop order: a few panels, then a stretch of columns whose weights stay in the second-level cache,
// then all tiles of tokens. So weights are read from memory once and in order.
#pragma once

#include "model/kernels/matmul/panel_kernel.h"

namespace lfm2 {

// Fetches a step's weights of P panels into the second-level cache.
template <int P, int64_t kStepBytes>
inline __attribute__((always_inline)) void FetchStep(const std::byte* step, int64_t panel_bytes) {
  for (int p = 0; p < P; ++p) {
    for (int64_t line = 0; line < kStepBytes; line += 64) {
      __builtin_prefetch(step + p * panel_bytes + line, /*rw=*/0, /*locality=*/2);
    }
  }
}

template <int kValue>
struct Constant {
  inline __attribute__((always_inline)) constexpr operator int() const { return kValue; }
};

// Calls body(i) for i in 0..N-1, unrolled: compilers keep an array in registers only if every index
// is a constant. With a sanitizer it is a loop, because unrolled code takes minutes to compile.
template <int N, int I = 0, typename Body>
inline __attribute__((always_inline)) void Unrolled(const Body& body) {
#ifdef LFM2_KEEP_LOOPS
  for (int i = 0; i < N; ++i) body(i);
#else
  if constexpr (I < N) {
    body(Constant<I>());
    Unrolled<N, I + 1>(body);
  }
#endif
}

template <typename Kernel>
struct PanelLoop {
  using TileFunction = void (*)(const Tile&);
  static constexpr int64_t kCachedBytes = 256 << 10;
  static constexpr int64_t kPanelRows = 16;

  static int64_t PanelsAtOnce(int64_t tile_tokens) { return Kernel::PanelsAtOnce(tile_tokens); }

  static int64_t TileBytes(int64_t tile_tokens, int64_t steps) {
    return tile_tokens * steps * Kernel::kTokenStepBytes;
  }

  static void Run(const PanelTask& task, const PanelRange& range) {
    const int64_t largest_tile = (task.tokens + task.tiles - 1) / task.tiles;
    const int64_t at_once = Kernel::PanelsAtOnce(largest_tile);
    for (int64_t panel = range.panel_begin; panel < range.panel_end;) {
      int64_t panels = at_once;
      while (panels > range.panel_end - panel) panels /= 2;
      RunPanels(task, range, panel, panels);
      panel += panels;
    }
  }

 private:
  static void RunPanels(const PanelTask& task, const PanelRange& range, int64_t panel,
                        int64_t panels) {
    const bool one_tile = range.tile_end - range.tile_begin == 1;
    const int64_t stretch =
        one_tile ? range.step_end - range.step_begin : kCachedBytes / (panels * Kernel::kStepBytes);
    const int64_t row = panel * kPanelRows;
    const int64_t rows_left = task.rows - row;
    Tile tile{};
    tile.panel_bytes = task.panel_bytes;
    tile.y_row = task.rows;
    tile.rows = rows_left < panels * kPanelRows ? rows_left : panels * kPanelRows;
    for (int64_t step = range.step_begin; step < range.step_end; step += stretch) {
      tile.steps = range.step_end - step < stretch ? range.step_end - step : stretch;
      tile.weights = task.weights + panel * task.panel_bytes + step * Kernel::kStepBytes;
      tile.resume = step > 0;
      const bool last_stretch = step + stretch >= range.step_end;
      const bool last_panels = panel + panels >= range.panel_end;
      tile.next = one_tile && Kernel::kAheadBytes > 0 ? tile.weights + Kernel::kAheadBytes
                  : !last_stretch                     ? tile.weights + stretch * Kernel::kStepBytes
                  : !last_panels ? task.weights + (panel + panels) * task.panel_bytes +
                                       range.step_begin * Kernel::kStepBytes
                                 : nullptr;
      for (int64_t i = range.tile_begin; i < range.tile_end; ++i) {
        const int64_t token = TileBegin(task.tokens, task.tiles, i);
        const int64_t tokens = TileBegin(task.tokens, task.tiles, i + 1) - token;
        tile.activations =
            task.activations + i * task.tile_bytes + step * tokens * Kernel::kTokenStepBytes;
        tile.y = task.y + token * task.rows + row;
        Find(tokens, panels)(tile);
        tile.next = nullptr;  // the first tile has prefetched it
      }
    }
  }

  static TileFunction Find(int64_t tokens, int64_t panels) {
    return panels == 4 ? Pick<4>(tokens) : panels == 2 ? Pick<2>(tokens) : Pick<1>(tokens);
  }

  template <int P, int T = Kernel::kMaxTokens>
  static TileFunction Pick(int64_t tokens) {
    if constexpr (T > 0) {
      if constexpr (P <= Kernel::PanelsAtOnce(T)) {
        if (tokens == T) return &Kernel::template RunTile<T, P>;
      }
      return Pick<P, T - 1>(tokens);
    }
    return nullptr;
  }
};

template <typename Kernel>
constexpr PanelKernel MakePanelKernel() {
  return {Kernel::kMaxTokens, &PanelLoop<Kernel>::TileBytes, &PanelLoop<Kernel>::PanelsAtOnce,
          &Kernel::Pack, &PanelLoop<Kernel>::Run};
}

// With few tokens memory is the bottleneck: then `One` reads one stream, `Two` reads two.
template <typename One, typename Two>
const PanelKernel* KernelOfStreams(int streams) {
  static constexpr PanelKernel kOne = MakePanelKernel<One>(), kTwo = MakePanelKernel<Two>();
  return streams == 1 ? &kOne : &kTwo;
}

}  // namespace lfm2
