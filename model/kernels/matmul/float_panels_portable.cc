// float32 and bfloat16 weights, for any machine.
#include <cstring>

#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int kRows = 16;

// 16 rows; compilers split it into the available registers.
using Lanes = float __attribute__((vector_size(64)));

struct F32Weights {
  static constexpr int kStepCols = 4;
  // Column `col` of a step, all rows.
  static void Load(const std::byte* step, int col, float* w) {
    std::memcpy(w, step + col * 64, 64);
  }
};

struct BF16Weights {
  static constexpr int kStepCols = 8;
  static void Load(const std::byte* step, int col, float* w) {
    uint32_t pairs[kRows];
    std::memcpy(pairs, step + col / 2 * 64, 64);
    for (uint32_t& pair : pairs) pair = col % 2 == 0 ? pair << 16 : pair & 0xffff0000U;
    std::memcpy(w, pairs, 64);
  }
};

// A tile's activations are [columns][T] float32.
template <typename Weights>
struct PortableFloatKernel {
  static constexpr int kMaxTokens = 4;
  static constexpr int64_t kAheadBytes = 0;
  static constexpr int64_t kStepBytes = kFloatStepBytes;
  static constexpr int64_t kTokenStepBytes = Weights::kStepCols * 4;
  static constexpr int64_t PanelsAtOnce(int64_t) { return 1; }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    float* const to = reinterpret_cast<float*>(tile);
    for (int64_t c = 0; c < steps * Weights::kStepCols; ++c) {
      for (int64_t t = 0; t < tokens; ++t) {
        to[c * tokens + t] = c < cols ? x[t * cols + c] : 0.0F;
      }
    }
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    Lanes sums[T] = {};
    const size_t row_bytes = static_cast<size_t>(tile.rows) * sizeof(float);
    for (int t = 0; t < T && tile.resume; ++t) {
      std::memcpy(&sums[t], tile.y + t * tile.y_row, row_bytes);
    }
    const float* a = reinterpret_cast<const float*>(tile.activations);
    for (int64_t step = 0; step < tile.steps; ++step) {
      for (int c = 0; c < Weights::kStepCols; ++c, a += T) {
        float w[kRows];
        Weights::Load(tile.weights + step * kStepBytes, c, w);
        Lanes column;
        std::memcpy(&column, w, sizeof(column));
        Unrolled<T>([&](auto t) __attribute__((always_inline)) { sums[t] += column * a[t]; });
      }
    }
    for (int t = 0; t < T; ++t) std::memcpy(tile.y + t * tile.y_row, &sums[t], row_bytes);
  }
};

}  // namespace

const PanelKernel* PortableF32Kernel(int) {
  static constexpr PanelKernel kKernel = MakePanelKernel<PortableFloatKernel<F32Weights>>();
  return &kKernel;
}

const PanelKernel* PortableBF16Kernel(int) {
  static constexpr PanelKernel kKernel = MakePanelKernel<PortableFloatKernel<BF16Weights>>();
  return &kKernel;
}

}  // namespace lfm2
