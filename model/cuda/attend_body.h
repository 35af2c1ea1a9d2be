// Decode attention over KV blocks with grouped queries, for any depth. The keys of a row are cut
// into parts of a fixed length; each part has its own thread block, and the parts are joined by
// their maxima and sums (Dao et al. 2023, "Flash-Decoding"). The cuts are counted from the start of
// the sequence, so the order of a row's sum does not depend on the rest of the batch.
#pragma once

#include "model/cuda/shim.h"

namespace lfm2::cuda {

// Grid x is parts, y is KV heads times the slices of kQueries in a group, z is rows.
template <typename T, int kQueries>
struct AttendBody {
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarp;
  using Args = Lfm2CudaAttend;

  static size_t SharedBytes(const Args& args) {
    const auto padded = static_cast<size_t>(lfm2_cuda_padded(args.head_dim));
    return sizeof(float) *
           (kQueries * padded * (1 + kWarps) + size_t{kQueries} * kLfm2CudaPartTokens + kWarps);
  }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    Place at;
    const int32_t position = args.positions[block.z];
    const int first = block.x * kLfm2CudaPartTokens;
    if (position < first) return;  // a padding row has position -1
    at.keys = position + 1 - first < kLfm2CudaPartTokens ? position + 1 - first
                                                         : int{kLfm2CudaPartTokens};
    const int group = args.heads / args.kv_heads;
    const int slices = static_cast<int>(CeilDiv(group, kQueries));
    at.shape = ShapeOf(args.kv_heads, args.head_dim);
    at.kv_head = block.y / slices;
    const int in_group = block.y % slices * kQueries;
    at.head = at.kv_head * group + in_group;
    at.queries = group - in_group < kQueries ? group - in_group : kQueries;
    at.table = args.kv.tables + static_cast<int64_t>(block.z) * args.kv.table_width +
               first / kLfm2CudaBlockTokens;
    at.q = reinterpret_cast<float*>(block.shared);
    at.scores = at.q + kQueries * at.shape.padded;
    at.mixed = at.scores + kQueries * kLfm2CudaPartTokens;
    at.scratch = at.mixed + kWarps * kQueries * at.shape.padded;
    LoadQueries(block, args, at);
    Score(block, args, at);
    Weigh(block, args, at);
    Mix(block, args, at);
  }

 private:
  struct alignas(2 * sizeof(T)) Pair {
    T a, b;
  };
  struct Place {
    TileShape shape;
    const int32_t* table;
    int keys, kv_head, head, queries;
    float *q, *scores, *mixed, *scratch;  // shared memory
  };

  LFM2_BODY static int64_t PartIndex(const Block& block, const Args& args, int head) {
    return (static_cast<int64_t>(block.z) * args.heads + head) * args.parts + block.x;
  }

  LFM2_BODY static void LoadQueries(const Block& block, const Args& args, const Place& at) {
    const T* q = static_cast<const T*>(args.q) + static_cast<int64_t>(block.z) * args.q_stride +
                 static_cast<int64_t>(at.head) * args.head_dim;
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < kQueries * at.shape.padded; i += kThreads) {
        const int query = i / at.shape.padded, channel = i % at.shape.padded;
        const bool real = query < at.queries && channel < args.head_dim;
        at.q[i] = real ? ToFloat(q[query * args.head_dim + channel]) * args.scale : 0.0F;
      }
    });
  }

  // One thread per key: neighbouring threads read neighbouring packs.
  LFM2_BODY static void Score(const Block& block, const Args& args, const Place& at) {
    const auto* keys = static_cast<const T*>(args.kv.keys);
    Each<kThreads>(block, [&](int t) {
      for (int key = t; key < at.keys; key += kThreads) {
        const T* tile = keys + at.shape.Tile(at.table[key / kLfm2CudaBlockTokens], at.kv_head);
        const int slot = key % kLfm2CudaBlockTokens;
        float dots[kQueries] = {};
        for (int channel = 0; channel < at.shape.padded; channel += 8) {
          const Pack<T> pack = LoadPack(tile + at.shape.KeyAt(slot, channel));
          for (int query = 0; query < kQueries; ++query) {
            const float* q = at.q + query * at.shape.padded + channel;
            for (int i = 0; i < 8; ++i) dots[query] += q[i] * ToFloat(pack.values[i]);
          }
        }
        for (int query = 0; query < kQueries; ++query) {
          at.scores[query * kLfm2CudaPartTokens + key] = dots[query];
        }
      }
    });
  }

  // Converts scores to unnormalised weights; writes the largest score and the sum of the weights.
  LFM2_BODY static void Weigh(const Block& block, const Args& args, const Place& at) {
    for (int query = 0; query < at.queries; ++query) {
      float* scores = at.scores + query * kLfm2CudaPartTokens;
      PerThread<float, kThreads> largest, sum;
      Each<kThreads>(block, [&](int t) {
        float value = -INFINITY;
        for (int key = t; key < at.keys; key += kThreads) {
          value = scores[key] > value ? scores[key] : value;
        }
        largest[t] = value;
      });
      JoinAll<kThreads>(block, at.scratch, largest, Largest());
      Each<kThreads>(block, [&](int t) {
        float total = 0;
        for (int key = t; key < at.keys; key += kThreads) {
          scores[key] = expf(scores[key] - largest[t]);
          total += scores[key];
        }
        sum[t] = total;
      });
      JoinAll<kThreads>(block, at.scratch, sum, Sum());
      Each<kThreads>(block, [&](int t) {
        if (t != 0) return;
        const int64_t part = PartIndex(block, args, at.head + query);
        args.largest[part] = largest[t];
        args.sum[part] = sum[t];
      });
    }
  }

  // A warp takes every kWarps-th key, its lanes take pairs of channels; then the warps' sums are
  // added.
  LFM2_BODY static void Mix(const Block& block, const Args& args, const Place& at) {
    const auto* values = static_cast<const T*>(args.kv.values);
    Each<kThreads>(block, [&](int t) {
      const int warp = t / kWarp;
      for (int channel = t % kWarp * 2; channel < at.shape.padded; channel += 2 * kWarp) {
        float sums[kQueries][2] = {};
        for (int key = warp; key < at.keys; key += kWarps) {
          const T* value = values +
                           at.shape.Tile(at.table[key / kLfm2CudaBlockTokens], at.kv_head) +
                           at.shape.ValueAt(key % kLfm2CudaBlockTokens, channel);
          const auto pair = *reinterpret_cast<const Pair*>(value);
          const float a = ToFloat(pair.a), b = ToFloat(pair.b);
          for (int query = 0; query < kQueries; ++query) {
            const float weight = at.scores[query * kLfm2CudaPartTokens + key];
            sums[query][0] += weight * a;
            sums[query][1] += weight * b;
          }
        }
        for (int query = 0; query < kQueries; ++query) {
          float* to = at.mixed + (warp * kQueries + query) * at.shape.padded + channel;
          to[0] = sums[query][0];
          to[1] = sums[query][1];
        }
      }
    });
    Each<kThreads>(block, [&](int t) {
      for (int i = t; i < at.queries * args.head_dim; i += kThreads) {
        const int query = i / args.head_dim, channel = i % args.head_dim;
        float total = 0;
        for (int warp = 0; warp < kWarps; ++warp) {
          total += at.mixed[(warp * kQueries + query) * at.shape.padded + channel];
        }
        args.mixed[PartIndex(block, args, at.head + query) * args.head_dim + channel] = total;
      }
    });
  }
};

// Grid x is heads, y is rows.
template <typename T>
struct JoinPartsBody {
  static constexpr int kThreads = 64;
  using Args = Lfm2CudaAttend;
  static size_t SharedBytes(const Args&) { return 0; }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const int32_t position = args.positions[block.y];
    const int64_t head = static_cast<int64_t>(block.y) * args.heads + block.x;
    T* out = static_cast<T*>(args.out) + head * args.head_dim;
    const float* largest = args.largest + head * args.parts;
    const float* sum = args.sum + head * args.parts;
    const float* mixed = args.mixed + head * args.parts * args.head_dim;
    const int parts = static_cast<int>(CeilDiv(position + 1, kLfm2CudaPartTokens));
    Each<kThreads>(block, [&](int t) {
      float highest = -INFINITY;
      for (int part = 0; part < parts; ++part) {
        highest = largest[part] > highest ? largest[part] : highest;
      }
      for (int channel = t; channel < args.head_dim; channel += kThreads) {
        float total = 0, all = 0;
        for (int part = 0; part < parts; ++part) {
          const float weight = expf(largest[part] - highest);
          total += weight * sum[part];
          all += weight * mixed[static_cast<int64_t>(part) * args.head_dim + channel];
        }
        out[channel] = FromFloat<T>(parts == 0 ? 0.0F : all / total);
      }
    });
  }
};

}  // namespace lfm2::cuda
