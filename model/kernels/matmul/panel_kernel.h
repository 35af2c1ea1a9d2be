// The functions that MatMul needs for an instruction set and a weight format: round activations
// into tiles, and multiply panels of 16 weight rows with such tiles.
//
// Files compiled for one instruction set may include this and intrinsics, but no header with inline
// functions: the linker keeps one copy of such a function and might keep one that older machines
// cannot run. Templates here take the instruction set's own type for the same reason.
// Thread rule: pure functions of their arguments; ranges that do not overlap may run at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lfm2 {

inline constexpr int64_t kScaleBytes = 64;  // fp16 scales of 16 rows, both groups of a step
inline constexpr int64_t kFloatStepBytes = 256;
inline constexpr int64_t kInt8StepBytes = kScaleBytes + 2 * 512;
inline constexpr int64_t kInt4StepBytes = kScaleBytes + 2 * 256;

// One whole product. Tokens are cut into `tiles` tiles whose sizes differ by at most one, the
// larger first.
struct PanelTask {
  const std::byte* weights = nullptr;
  int64_t panel_bytes = 0;
  int64_t rows = 0;
  int64_t steps = 0;                       // along the columns; panel_layout.h
  const std::byte* activations = nullptr;  // tiles one after the other
  int64_t tile_bytes = 0;                  // distance from one to the next
  int64_t tokens = 0;
  int64_t tiles = 0;
  float* y = nullptr;  // [tokens, rows]
};

// Ranges of steps begin at multiples of kRangeSteps and follow each other from 0 on: later ones add
// to what y holds.
inline constexpr int64_t kRangeSteps = 4;
struct PanelRange {
  int64_t panel_begin, panel_end;
  int64_t tile_begin, tile_end;
  int64_t step_begin, step_end;
};

// A few panels times one tile, over some steps.
struct Tile {
  const std::byte* weights;
  int64_t panel_bytes;
  int64_t steps;
  const std::byte* activations;
  float* y;       // of the tile's first token and the panels' first row
  int64_t y_row;  // floats from one token to the next
  int64_t rows;   // of these panels that exist
  bool resume;    // y holds the sum of the steps before
  // The weights that will be read next, in the same steps and panels; may be prefetched. Or null.
  const std::byte* next;
};

struct PanelKernel {
  int64_t tile_tokens;  // most tokens of a tile
  int64_t (*tile_bytes)(int64_t tile_tokens, int64_t steps);
  int64_t (*panels_at_once)(int64_t tile_tokens);
  // x: [tokens, cols], at most tile_tokens; `tile`: tile_bytes(tokens, steps), 4-byte aligned.
  void (*pack)(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile);
  void (*run)(const PanelTask& task, const PanelRange& range);
};

// `streams`, 1 or 2: memory streams that a thread reads at once for few tokens, if a kernel
// supports both. A row is the same from both.
const PanelKernel* PortableF32Kernel(int streams);
const PanelKernel* PortableBF16Kernel(int streams);
const PanelKernel* PortableInt8Kernel(int streams);
const PanelKernel* PortableInt4Kernel(int streams);
const PanelKernel* Avx2F32Kernel(int streams);
const PanelKernel* Avx2BF16Kernel(int streams);
const PanelKernel* Avx2Int8Kernel(int streams);
const PanelKernel* Avx2Int4Kernel(int streams);
const PanelKernel* Avx512F32Kernel(int streams);
const PanelKernel* Avx512BF16Kernel(int streams);     // widened: float32's sums
const PanelKernel* Avx512DotBF16Kernel(int streams);  // by VDPBF16PS
const PanelKernel* Avx512Int8Kernel(int streams);
const PanelKernel* Avx512Int4Kernel(int streams);
const PanelKernel* AmxBF16Kernel(int streams);
// For many tokens. A row is the same from the AVX-512 kernels.
const PanelKernel* AmxInt8Kernel(int streams);
const PanelKernel* AmxInt4Kernel(int streams);

// First token of tile `i`.
inline constexpr int64_t TileBegin(int64_t tokens, int64_t tiles, int64_t i) {
  const int64_t larger = tokens % tiles;
  return i * (tokens / tiles) + (i < larger ? i : larger);
}

}  // namespace lfm2
