// One step of the gated short convolution and of the gated diagonal state-space recurrence. One
// thread per channel; grid x is tiles of channels, y is rows.
#pragma once

#include "model/cuda/shim.h"

namespace lfm2::cuda {

template <typename T>
struct ConvBody {
  static constexpr int kThreads = 128;
  using Args = Lfm2CudaConv;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int32_t slot = args.slots[block.y];
    if (slot < 0) return;
    const int64_t row = block.y;
    const T* bcx = static_cast<const T*>(args.bcx) + row * 3 * args.width;
    T* state = static_cast<T*>(args.states) + slot * args.slot_stride;
    T* out = static_cast<T*>(args.out) + row * args.width;
    EachColumn<kThreads>(block, args.width, [&](int channel) {
      const T* weight =
          static_cast<const T*>(args.weight) + static_cast<int64_t>(channel) * args.taps;
      const float v = Rounded<T>(ToFloat(bcx[channel]) * ToFloat(bcx[2 * args.width + channel]));
      float y = v * ToFloat(weight[args.taps - 1]);
      for (int tap = 0; tap + 1 < args.taps; ++tap) {
        T& old = state[static_cast<int64_t>(tap) * args.width + channel];
        y += ToFloat(old) * ToFloat(weight[tap]);
        old = tap + 2 < args.taps ? state[static_cast<int64_t>(tap + 1) * args.width + channel]
                                  : FromFloat<T>(v);
      }
      if (args.bias != nullptr) y += ToFloat(static_cast<const T*>(args.bias)[channel]);
      out[channel] = FromFloat<T>(ToFloat(bcx[args.width + channel]) * Rounded<T>(y));
    });
  }
};

template <typename T>
struct SsmBody {
  static constexpr int kThreads = 128;
  using Args = Lfm2CudaSsm;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int32_t slot = args.slots[block.y];
    if (slot < 0) return;
    const int64_t row = block.y;
    const T* uz = static_cast<const T*>(args.uz) + row * 2 * args.width;
    float* state = args.states + slot * args.slot_stride;
    T* out = static_cast<T*>(args.out) + row * args.width;
    EachColumn<kThreads>(block, args.width, [&](int channel) {
      const float u = ToFloat(uz[channel]);
      float y = 0;
      for (int n = 0; n < args.n; ++n) {
        const int64_t at = static_cast<int64_t>(n) * args.width + channel;
        const float next = args.decay[at] * state[at] + args.input[at] * u;
        state[at] = next;
        y += args.output[at] * next;
      }
      y += args.skip[channel] * u;
      out[channel] = FromFloat<T>(y * Silu(ToFloat(uz[args.width + channel])));
    });
  }
};

}  // namespace lfm2::cuda
