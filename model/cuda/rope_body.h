// Norms and rotary embedding of q and k, and the write into the KV blocks; also the copies between
// those blocks and plain tensors, for the passes that LibTorch runs.
#pragma once

#include "model/cuda/shim.h"

namespace lfm2::cuda {

// Grid x is the heads of q, k and v, one after another; y is rows.
template <typename T>
struct RopeBody {
  static constexpr int kThreads = 64;
  using Args = Lfm2CudaRope;
  static size_t SharedBytes(const Args& args) {
    return (static_cast<size_t>(lfm2_cuda_padded(args.head_dim)) + kThreads / kWarp) *
           sizeof(float);
  }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int32_t position = args.positions[block.y];
    if (position < 0) return;
    const int all_heads = args.heads + 2 * args.kv_heads;
    T* x = static_cast<T*>(args.qkv) +
           (static_cast<int64_t>(block.y) * all_heads + block.x) * args.head_dim;
    auto* row = reinterpret_cast<float*>(block.shared);
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < args.head_dim; i += kThreads) row[i] = ToFloat(x[i]);
    });
    const bool is_q = block.x < args.heads;
    const bool is_v = block.x >= args.heads + args.kv_heads;
    const void* norm = is_q ? args.q_norm : args.k_norm;
    if (!is_v && norm != nullptr) Normalise(block, args, static_cast<const T*>(norm), row);
    if (!is_v) Turn(block, args, position, row);
    if (is_q) {
      Each<kThreads>(block, [&](int t) {
        for (int i = t; i < args.head_dim; i += kThreads) x[i] = FromFloat<T>(row[i]);
      });
    } else {
      Store(block, args, position, row);
    }
  }

 private:
  LFM2_BODY static void Normalise(const Block& block, const Args& args, const T* weight,
                                  float* row) {
    PerThread<float, kThreads> squares;
    Each<kThreads>(block, [&](int t) {
      float sum = 0;
      for (int i = t; i < args.head_dim; i += kThreads) sum += row[i] * row[i];
      squares[t] = sum;
    });
    JoinAll<kThreads>(block, row + lfm2_cuda_padded(args.head_dim), squares, Sum());
    Each<kThreads>(block, [&](int t) {
      const float inverse = 1.0F / sqrtf(squares[t] / static_cast<float>(args.head_dim) + args.eps);
      for (int i = t; i < args.head_dim; i += kThreads) {
        row[i] = Rounded<T>(Rounded<T>(row[i] * inverse) * ToFloat(weight[i]));
      }
    });
  }

  // Rounds at the same points as the equivalent LibTorch operators.
  LFM2_BODY static void Turn(const Block& block, const Args& args, int32_t position, float* row) {
    const int half = args.head_dim / 2;
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < half; i += kThreads) {
        const float angle = static_cast<float>(position) * args.frequencies[i];
        const float cos = Rounded<T>(cosf(angle)), sin = Rounded<T>(sinf(angle));
        const float a = row[i], b = row[half + i];
        row[i] = Rounded<T>(Rounded<T>(a * cos) - Rounded<T>(b * sin));
        row[half + i] = Rounded<T>(Rounded<T>(b * cos) + Rounded<T>(a * sin));
      }
    });
  }

  LFM2_BODY static void Store(const Block& block, const Args& args, int32_t position,
                              const float* row) {
    const TileShape shape = ShapeOf(args.kv_heads, args.head_dim);
    const int head = (block.x - args.heads) % args.kv_heads;
    const bool is_v = block.x >= args.heads + args.kv_heads;
    const int slot = position % kLfm2CudaBlockTokens;
    const int32_t kv_block = args.kv.tables[static_cast<int64_t>(block.y) * args.kv.table_width +
                                            position / kLfm2CudaBlockTokens];
    T* tile = static_cast<T*>(is_v ? args.kv.values : args.kv.keys) + shape.Tile(kv_block, head);
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < shape.padded; i += kThreads) {
        const int at = is_v ? shape.ValueAt(slot, i) : shape.KeyAt(slot, i);
        tile[at] = FromFloat<T>(i < args.head_dim ? row[i] : 0.0F);
      }
    });
  }
};

// Grid x is tokens, y is KV heads.
template <typename T, bool kStore>
struct KvCopyBody {
  static constexpr int kThreads = 64;
  using Args = Lfm2CudaKvCopy;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const TileShape shape = ShapeOf(args.kv_heads, args.head_dim);
    const int position = args.first + block.x;
    const int slot = position % kLfm2CudaBlockTokens;
    const int64_t tile = shape.Tile(args.kv.tables[position / kLfm2CudaBlockTokens], block.y);
    T* keys = static_cast<T*>(args.kv.keys) + tile;
    T* values = static_cast<T*>(args.kv.values) + tile;
    const int64_t row = (static_cast<int64_t>(block.x) * args.kv_heads + block.y) * args.head_dim;
    T* k = static_cast<T*>(args.k) + row;
    T* v = static_cast<T*>(args.v) + row;
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < shape.padded; i += kThreads) {
        T& key = keys[shape.KeyAt(slot, i)];
        T& value = values[shape.ValueAt(slot, i)];
        if (kStore) {
          key = i < args.head_dim ? k[i] : FromFloat<T>(0.0F);
          value = i < args.head_dim ? v[i] : FromFloat<T>(0.0F);
        } else if (i < args.head_dim) {
          k[i] = key;
          v[i] = value;
        }
      }
    });
  }
};

}  // namespace lfm2::cuda
