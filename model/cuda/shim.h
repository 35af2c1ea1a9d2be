// One source for a GPU kernel and for its test on the host. A body is a struct with
//   kThreads, Args, SharedBytes(args) and static void Run(Block, const Args&),
// and its threads run in phases: Each(block, f) calls f(thread) for every thread of the block, and
// the code after it sees all their writes. Under nvcc a phase is the thread's own call and a
// barrier; on the host it is a loop. A thread's variable that lives across phases is a PerThread;
// shared memory that all threads read outside a phase is read with ReadByAll.
//
// Thread rule: Launch is ordered by its stream; on the host it returns when the work is done.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/cuda/lfm2_cuda.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#define LFM2_BODY __device__ __forceinline__
#define LFM2_BOTH __host__ __device__ __forceinline__
#else
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>
#define LFM2_BODY inline
#define LFM2_BOTH inline
#endif

namespace lfm2::cuda {

inline constexpr int kWarp = 32;

struct Block {
  int x, y, z;            // of the grid
  unsigned char* shared;  // SharedBytes(args), aligned to 16, not initialised
};

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

// Storage of a bfloat16; arithmetic is in float.
struct Bf16 {
  uint16_t bits;
};

LFM2_BODY float ToFloat(float value) { return value; }
template <typename T>
LFM2_BODY T FromFloat(float value);
template <>
LFM2_BODY float FromFloat<float>(float value) {
  return value;
}

#ifdef __CUDACC__

LFM2_BODY float ToFloat(Bf16 value) { return __uint_as_float(uint32_t{value.bits} << 16); }
template <>
LFM2_BODY Bf16 FromFloat<Bf16>(float value) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}
LFM2_BODY uint64_t BitsOf(double value) {
  return static_cast<uint64_t>(__double_as_longlong(value));
}
LFM2_BODY double DoubleOf(uint64_t bits) {
  return __longlong_as_double(static_cast<long long>(bits));
}
LFM2_BODY uint64_t ReadByAll(const uint64_t& word) { return word; }
LFM2_BODY void AddShared(uint64_t& to, uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(&to), static_cast<unsigned long long>(value));
}

template <typename T, int kThreads>
struct PerThread {
  T value;
  LFM2_BODY T& operator[](int) { return value; }
};

template <int kThreads, typename Phase>
LFM2_BODY void Each(const Block&, Phase&& phase) {
  phase(static_cast<int>(threadIdx.x));
  __syncthreads();
}

template <typename T, int kThreads, typename Join>
LFM2_BODY void JoinWarps(PerThread<T, kThreads>& values, Join&& join) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    values.value = join(values.value, __shfl_xor_sync(0xffffffffU, values.value, offset));
  }
}

#else

inline float ToFloat(Bf16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16U); }
template <>
inline Bf16 FromFloat<Bf16>(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};  // NaN
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U)};
}
inline uint64_t BitsOf(double value) { return std::bit_cast<uint64_t>(value); }
inline double DoubleOf(uint64_t bits) { return std::bit_cast<double>(bits); }
inline void AddShared(uint64_t& to, uint64_t value) { to += value; }

// Reads shared memory between two phases, in all threads. On a GPU the slowest thread may do so
// when the others are already in the next phase, so that phase must not change it.
inline thread_local std::vector<std::pair<const uint64_t*, uint64_t>> read_by_all;
inline uint64_t ReadByAll(const uint64_t& word) {
  read_by_all.emplace_back(&word, word);
  return word;
}
inline void CheckReadByAll() {
  for (const auto& [word, value] : read_by_all) {
    if (*word == value) continue;
    std::fputs("a phase changes what a thread may still be reading: a barrier is missing\n",
               stderr);
    std::abort();
  }
  read_by_all.clear();
}

template <typename T, int kThreads>
struct PerThread {
  T value[kThreads];
  T& operator[](int thread) { return value[thread]; }
};

// Every second phase runs backwards, so that a body that depends on the order within a phase fails.
template <int kThreads, typename Phase>
void Each(const Block&, Phase&& phase) {
  thread_local bool backwards = false;
  backwards = !backwards;
  for (int i = 0; i < kThreads; ++i) phase(backwards ? kThreads - 1 - i : i);
  CheckReadByAll();
}

template <typename T, int kThreads, typename Join>
void JoinWarps(PerThread<T, kThreads>& values, Join&& join) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    PerThread<T, kThreads> joined = values;
    for (int t = 0; t < kThreads; ++t) joined[t] = join(values[t], values[t ^ offset]);
    values = joined;
  }
}

#endif

// Reduces all threads' values, in the same order on every machine; every thread gets the result.
// scratch is [kThreads / kWarp] in shared memory and may be reused afterwards.
template <int kThreads, typename T, typename Join>
LFM2_BODY void JoinAll(const Block& block, T* scratch, PerThread<T, kThreads>& values,
                       Join&& join) {
  static_assert(kThreads % kWarp == 0);
  JoinWarps<T, kThreads>(values, join);
  Each<kThreads>(block, [&](int t) {
    if (t % kWarp == 0) scratch[t / kWarp] = values[t];
  });
  Each<kThreads>(block, [&](int t) {
    T all = scratch[0];
    for (int warp = 1; warp < kThreads / kWarp; ++warp) all = join(all, scratch[warp]);
    values[t] = all;
  });
}

struct Sum {
  template <typename T>
  LFM2_BODY T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {
  template <typename T>
  LFM2_BODY T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
struct Smallest {
  template <typename T>
  LFM2_BODY T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

// Eight neighbours at once. Addresses are multiples of the pack.
template <typename T>
struct alignas(16) Pack {
  T values[8];
};

template <typename T>
LFM2_BODY Pack<T> LoadPack(const T* from) {
  return *reinterpret_cast<const Pack<T>*>(from);
}

// Calls f(column) for the columns of a row that grid x cuts into tiles of kThreads.
template <int kThreads, typename Phase>
LFM2_BODY void EachColumn(const Block& block, int width, Phase&& phase) {
  Each<kThreads>(block, [&](int t) {
    const int column = block.x * kThreads + t;
    if (column < width) phase(column);
  });
}

// The value, rounded to the arithmetic type.
template <typename T>
LFM2_BODY float Rounded(float value) {
  return ToFloat(FromFloat<T>(value));
}

LFM2_BODY float Silu(float x) { return x / (1.0F + expf(-x)); }

LFM2_BOTH int64_t CeilDiv(int64_t value, int64_t by) { return (value + by - 1) / by; }

// The offset of token `position` of a sequence in a layer's blocks. Keys are
// [block][kv_head][padded / 8][kLfm2CudaBlockTokens][8], so that one thread per key reads whole
// packs; values are [block][kv_head][kLfm2CudaBlockTokens][padded]. padded is head_dim rounded up
// to a multiple of 8; the padding is zeros.
struct TileShape {
  int kv_heads, padded;
  LFM2_BODY int64_t Tile(int32_t block, int kv_head) const {
    return (static_cast<int64_t>(block) * kv_heads + kv_head) * kLfm2CudaBlockTokens * padded;
  }
  LFM2_BODY int KeyAt(int slot, int channel) const {
    return (channel / 8 * kLfm2CudaBlockTokens + slot) * 8 + channel % 8;
  }
  LFM2_BODY int ValueAt(int slot, int channel) const { return slot * padded + channel; }
};
LFM2_BOTH TileShape ShapeOf(int kv_heads, int head_dim) {
  return {kv_heads, lfm2_cuda_padded(head_dim)};
}

#ifdef __CUDACC__

cudaStream_t StreamOf(Lfm2CudaContext* context);  // after binding the context's device

template <typename Body>
__global__ void __launch_bounds__(Body::kThreads) Kernel(const typename Body::Args args) {
  extern __shared__ __align__(16) unsigned char shared[];
  Body::Run(Block{static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y),
                  static_cast<int>(blockIdx.z), shared},
            args);
}

// 0 or a cudaError_t.
template <typename Body>
int Launch(Lfm2CudaContext* context, Grid grid, const typename Body::Args& args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                    static_cast<unsigned>(grid.z));
  Kernel<Body><<<blocks, Body::kThreads, Body::SharedBytes(args), StreamOf(context)>>>(args);
  return static_cast<int>(cudaGetLastError());
}

#else

// Shared memory starts as NaN in every block, which reveals reads before the first write.
template <typename Body>
int Launch(Lfm2CudaContext*, Grid grid, const typename Body::Args& args) {
  std::vector<Pack<float>> shared(Body::SharedBytes(args) / sizeof(Pack<float>) + 1);
  for (int64_t z = 0; z < grid.z; ++z) {
    for (int64_t y = 0; y < grid.y; ++y) {
      for (int64_t x = 0; x < grid.x; ++x) {
        for (Pack<float>& pack : shared) {
          for (float& value : pack.values) value = std::bit_cast<float>(0xffffffffU);
        }
        Body::Run({static_cast<int>(x), static_cast<int>(y), static_cast<int>(z),
                   reinterpret_cast<unsigned char*>(shared.data())},
                  args);
        read_by_all.clear();  // the next block has its own memory
      }
    }
  }
  return 0;
}

#endif

}  // namespace lfm2::cuda
