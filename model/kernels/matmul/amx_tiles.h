// How the AMX kernels set up the tile registers. For files compiled with AMX only.
//
// Thread rule: a thread's own registers; TileScope's constructor and destructor run on one thread.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace lfm2 {

// The processor's own layout (Intel's manual, LDTILECFG): palette 1 has 8 tiles of at most 16 rows
// of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Configures the thread's tiles; the destructor releases them, so the system need not save them.
class TileScope {
 public:
  explicit __attribute__((always_inline)) TileScope(const TileConfig& config) {
    _tile_loadconfig(&config);
  }
  __attribute__((always_inline)) ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

}  // namespace lfm2
