// Residual add and RMSNorm, and the other bodies that work on whole rows.
#pragma once

#include "model/cuda/shim.h"

namespace lfm2::cuda {

template <typename T>
struct NormBody {
  static constexpr int kThreads = 256;
  using Args = Lfm2CudaNorm;
  static size_t SharedBytes(const Args&) { return kThreads / kWarp * sizeof(float); }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int64_t begin = static_cast<int64_t>(block.x) * args.width;
    T* x = static_cast<T*>(args.x) + begin;
    T* out = static_cast<T*>(args.out) + begin;
    const auto* weight = static_cast<const T*>(args.weight);
    PerThread<float, kThreads> squares;
    Each<kThreads>(block, [&](int t) {
      float sum = 0;
      for (int i = t; i < args.width; i += kThreads) {
        float value = ToFloat(x[i]);
        for (const void* add : args.add) {
          if (add != nullptr) {
            value = Rounded<T>(value + ToFloat(static_cast<const T*>(add)[begin + i]));
          }
        }
        x[i] = FromFloat<T>(value);
        sum += value * value;
      }
      squares[t] = sum;
    });
    JoinAll<kThreads>(block, reinterpret_cast<float*>(block.shared), squares, Sum());
    Each<kThreads>(block, [&](int t) {
      const float inverse = 1.0F / sqrtf(squares[t] / static_cast<float>(args.width) + args.eps);
      for (int i = t; i < args.width; i += kThreads) {
        out[i] = FromFloat<T>(Rounded<T>(ToFloat(x[i]) * inverse) * ToFloat(weight[i]));
      }
    });
  }
};

template <typename T>
struct EmbedBody {
  static constexpr int kThreads = 256;
  using Args = Lfm2CudaEmbed;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const T* from =
        static_cast<const T*>(args.table) + static_cast<int64_t>(args.ids[block.x]) * args.width;
    T* to = static_cast<T*>(args.out) + static_cast<int64_t>(block.x) * args.width;
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < args.width; i += kThreads) to[i] = from[i];
    });
  }
};

// Elementwise: grid x is tiles of kThreads columns, y is rows.
template <typename T>
struct BiasBody {
  static constexpr int kThreads = 256;
  using Args = Lfm2CudaBias;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    T* x = static_cast<T*>(args.x) + static_cast<int64_t>(block.y) * args.width;
    EachColumn<kThreads>(block, args.width, [&](int i) {
      x[i] = FromFloat<T>(ToFloat(x[i]) + ToFloat(static_cast<const T*>(args.bias)[i]));
    });
  }
};

template <typename T>
struct SiluMulBody {
  static constexpr int kThreads = 256;
  using Args = Lfm2CudaSiluMul;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int64_t row = block.y;
    const T* gate = static_cast<const T*>(args.gate_up) + row * 2 * args.width;
    T* out = static_cast<T*>(args.out) + row * args.width;
    EachColumn<kThreads>(block, args.width, [&](int i) {
      out[i] = FromFloat<T>(Rounded<T>(Silu(ToFloat(gate[i]))) * ToFloat(gate[args.width + i]));
    });
  }
};

}  // namespace lfm2::cuda
