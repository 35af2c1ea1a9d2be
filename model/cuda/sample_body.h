// Chooses tokens from logits, with the rules of model/sampling/sampler.h: repetition penalty,
// temperature, top_k, top_p, min_p, one draw that depends only on (seed, index). Scores are float64
// as there. Probabilities are summed in fixed point, so the order of threads does not matter. The
// sums differ from the host's float64 sums by about 1e-9 of the total: a draw or a top_p limit that
// close to an edge may give the neighbouring token.
#pragma once

#include "model/cuda/shim.h"

namespace lfm2::cuda {

// Grid x is rows.
template <typename T>
struct SampleBody {
  static constexpr int kThreads = 1024;
  static constexpr int kDigits = 256;  // of a radix
  static constexpr int kControls = 2;
  using Args = Lfm2CudaSample;
  static size_t SharedBytes(const Args&) {
    return sizeof(uint64_t) * (kThreads + kDigits + kControls + kThreads / kWarp);
  }

  LFM2_BODY static void Run(const Block& block, const Args& args) {
    const Lfm2CudaSampling& params = args.params[block.x];
    Lfm2CudaChoice& choice = args.choices[block.x];
    if (params.sample == 0) {
      Each<kThreads>(block, [&](int t) {
        if (t == 0) choice = {-1, 1};
      });
      return;
    }
    Row row(block, args, params);
    const bool finite = AllFinite(block, row);
    int32_t id = FindLikeliest(block, row);
    if (finite && row.temperature > 0) {
      if (params.top_k > 0 && params.top_k < row.vocab) {
        Keep(block, row, static_cast<uint64_t>(params.top_k), Count());
      }
      if (params.top_p < 1) {
        const uint64_t all = TotalMass(block, row, 0.0);
        Keep(block, row, Share(params.top_p, all), Mass{row.highest, row.one});
      }
      id = Draw(block, row, params);
    }
    Each<kThreads>(block, [&](int t) {
      if (t == 0) choice = {id, finite ? 1 : 0};
    });
  }

 private:
  // One row's candidates. A higher key is likelier; of equal keys, the lower id. The remaining
  // candidates have (key > floor) or (key == floor and id <= last_id).
  struct Row {
    LFM2_BODY Row(const Block& block, const Args& args, const Lfm2CudaSampling& params)
        : logits(static_cast<const T*>(args.logits) + static_cast<int64_t>(block.x) * args.vocab),
          seen(params.use_seen != 0 ? args.seen + static_cast<int64_t>(block.x) * args.words
                                    : nullptr),
          allowed(params.use_allowed != 0
                      ? args.allowed + static_cast<int64_t>(block.x) * args.words
                      : nullptr),
          penalty(params.repetition_penalty),
          temperature(params.temperature),
          vocab(args.vocab) {
      int bits = 1;
      while ((int64_t{1} << bits) < vocab) ++bits;
      one = static_cast<double>(uint64_t{1} << (62 - bits));  // the sum of all stays below 2^63
      scan = reinterpret_cast<uint64_t*>(block.shared);
      digits = scan + kThreads;
      control = digits + kDigits;
      scratch = control + kControls;
    }

    LFM2_BODY static bool Has(const uint32_t* words, int id) {
      return (words[id / 32] >> (id % 32) & 1U) != 0;
    }
    LFM2_BODY double ScoreOf(int id) const {
      double score = ToFloat(logits[id]);
      if (seen != nullptr && Has(seen, id)) {
        score = score > 0 ? score / penalty : score * penalty;
      }
      return temperature > 0 ? score / temperature : score;
    }
    LFM2_BODY static uint64_t KeyOf(double score) {
      const uint64_t bits = BitsOf(score + 0.0);  // -0 is 0
      return bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
    }
    LFM2_BODY static double ScoreOfKey(uint64_t key) {
      return DoubleOf(key >> 63 != 0 ? key & ~(uint64_t{1} << 63) : ~key);
    }
    LFM2_BODY bool Left(int id, uint64_t key) const {
      if (allowed != nullptr && !Has(allowed, id)) return false;
      return key > floor || (key == floor && id <= last_id);
    }
    LFM2_BODY int ChunkBegin(int thread) const {  // first of a thread's neighbouring ids
      const int64_t begin = thread * CeilDiv(vocab, kThreads);
      return begin < vocab ? static_cast<int>(begin) : vocab;
    }

    const T* logits;
    const uint32_t *seen, *allowed;
    double penalty, temperature;
    int vocab;
    double one = 0;  // a weight of 1 in fixed point
    double highest = 0;
    uint64_t floor = 0;
    int32_t last_id = 0x7fffffff;
    uint64_t *scan, *digits, *control, *scratch;  // shared memory
  };

  // What a candidate counts: 1, or its softmax weight in fixed point.
  struct Count {
    LFM2_BODY uint64_t operator()(double) const { return 1; }
  };
  struct Mass {
    double highest, one;
    LFM2_BODY uint64_t operator()(double score) const {
      return static_cast<uint64_t>(rint(WeightOf(score, highest) * one));
    }
  };
  LFM2_BODY static double WeightOf(double score, double highest) {
    return score == highest ? 1.0 : exp(score - highest);
  }

  // The smallest mass that is at least `part` of `all`; never 0.
  LFM2_BODY static uint64_t Share(double part, uint64_t all) {
    const double wanted = ceil(part * static_cast<double>(all));
    if (!(wanted >= 1)) return 1;
    return wanted >= static_cast<double>(all) ? all : static_cast<uint64_t>(wanted);
  }

  LFM2_BODY static bool AllFinite(const Block& block, const Row& row) {
    PerThread<int, kThreads> bad;
    Each<kThreads>(block, [&](int t) {
      int found = 0;
      for (int id = t; id < row.vocab; id += kThreads) {
        const float logit = ToFloat(row.logits[id]);
        if (!(fabsf(logit) < INFINITY)) found = 1;
      }
      bad[t] = found;
    });
    JoinAll<kThreads>(block, reinterpret_cast<int*>(row.scratch), bad, Largest());
    Each<kThreads>(block, [&](int t) {
      if (t == 0) row.control[0] = static_cast<uint64_t>(bad[t]);
    });
    return ReadByAll(row.control[0]) == 0;
  }

  // Also sets the highest score.
  LFM2_BODY static int32_t FindLikeliest(const Block& block, Row& row) {
    PerThread<uint64_t, kThreads> best;
    PerThread<int32_t, kThreads> id;
    PerThread<uint64_t, kThreads> own;
    Each<kThreads>(block, [&](int t) {
      best[t] = 0;
      id[t] = 0x7fffffff;
      for (int i = t; i < row.vocab; i += kThreads) {
        const uint64_t key = Row::KeyOf(row.ScoreOf(i));
        if (!row.Left(i, key) || key <= best[t]) continue;
        best[t] = key;
        id[t] = i;
      }
      own[t] = best[t];
    });
    JoinAll<kThreads>(block, row.scratch, best, Largest());
    Each<kThreads>(block, [&](int t) {
      if (own[t] != best[t]) id[t] = 0x7fffffff;
    });
    JoinAll<kThreads>(block, reinterpret_cast<int32_t*>(row.scratch), id, Smallest());
    Each<kThreads>(block, [&](int t) {
      if (t != 0) return;
      row.control[0] = best[t];
      row.control[1] = static_cast<uint64_t>(id[t]);
    });
    row.highest = Row::ScoreOfKey(ReadByAll(row.control[0]));
    return static_cast<int32_t>(ReadByAll(row.control[1]));
  }

  // Keeps the smallest set of the likeliest candidates whose weights reach `wanted`: goes through
  // the key digit by digit, then by id among equal keys.
  template <typename Weigh>
  LFM2_BODY static void Keep(const Block& block, Row& row, uint64_t wanted, const Weigh& weigh) {
    uint64_t floor = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
      AddDigits(block, row, floor, shift, weigh);
      Each<kThreads>(block, [&](int t) {
        if (t != 0) return;
        int digit = kDigits - 1;
        uint64_t missing = wanted;
        for (; digit > 0 && row.digits[digit] < missing; --digit) missing -= row.digits[digit];
        row.control[0] = static_cast<uint64_t>(digit);
        row.control[1] = missing;
      });
      floor |= ReadByAll(row.control[0]) << shift;
      wanted = ReadByAll(row.control[1]);
    }
    const uint64_t each = weigh(Row::ScoreOfKey(floor));
    const uint64_t ties = each == 0 ? 0 : (wanted + each - 1) / each;
    const int32_t last_id = IdOfTie(block, row, floor, ties);
    row.floor = floor;
    row.last_id = last_id;
  }

  // Sums weights by the digit at `shift`, for candidates whose higher digits are those of `prefix`.
  // Neighbours often share a digit: a thread adds what it has when the digit changes.
  template <typename Weigh>
  LFM2_BODY static void AddDigits(const Block& block, const Row& row, uint64_t prefix, int shift,
                                  const Weigh& weigh) {
    Each<kThreads>(block, [&](int t) {
      for (int digit = t; digit < kDigits; digit += kThreads) row.digits[digit] = 0;
    });
    Each<kThreads>(block, [&](int t) {
      uint64_t digit = 0, sum = 0;
      for (int id = t; id < row.vocab; id += kThreads) {
        const double score = row.ScoreOf(id);
        const uint64_t key = Row::KeyOf(score);
        if (shift < 56 && key >> (shift + 8) != prefix >> (shift + 8)) continue;
        if (!row.Left(id, key)) continue;
        const uint64_t now = key >> shift & (kDigits - 1);
        if (now != digit && sum != 0) {
          AddShared(row.digits[digit], sum);
          sum = 0;
        }
        digit = now;
        sum += weigh(score);
      }
      if (sum != 0) AddShared(row.digits[digit], sum);
    });
  }

  // The id of the `rank`-th candidate, by id, of those with this key; beyond the last: no limit.
  LFM2_BODY static int32_t IdOfTie(const Block& block, const Row& row, uint64_t key,
                                   uint64_t rank) {
    const auto is_tie = [&](int id) {
      return Row::KeyOf(row.ScoreOf(id)) == key && row.Left(id, key);
    };
    PerThread<uint64_t, kThreads> count;
    Each<kThreads>(block, [&](int t) {
      count[t] = 0;
      for (int id = row.ChunkBegin(t); id < row.ChunkBegin(t + 1); ++id) {
        count[t] += is_tie(id) ? 1 : 0;
      }
    });
    SumsBefore(block, row, count);
    Each<kThreads>(block, [&](int t) {
      if (t == 0) row.control[0] = 0x7fffffff;
    });
    Each<kThreads>(block, [&](int t) {
      uint64_t before = row.scan[t];
      if (rank <= before || rank > before + count[t]) return;
      for (int id = row.ChunkBegin(t); id < row.ChunkBegin(t + 1); ++id) {
        if (!is_tie(id) || ++before != rank) continue;
        row.control[0] = static_cast<uint64_t>(id);
        return;
      }
    });
    return static_cast<int32_t>(ReadByAll(row.control[0]));
  }

  // row.scan[t]: the sum of the values of the threads before t.
  LFM2_BODY static void SumsBefore(const Block& block, const Row& row,
                                   PerThread<uint64_t, kThreads>& values) {
    PerThread<uint64_t, kThreads> sum;
    Each<kThreads>(block, [&](int t) {
      sum[t] = 0;
      row.scan[t] = values[t];
    });
    Each<kThreads>(block, [&](int t) { sum[t] = t > 0 ? row.scan[t - 1] : 0; });
    for (int reach = 1; reach < kThreads; reach *= 2) {
      Each<kThreads>(block, [&](int t) { row.scan[t] = sum[t]; });
      Each<kThreads>(block, [&](int t) { sum[t] += t >= reach ? row.scan[t - reach] : 0; });
    }
    Each<kThreads>(block, [&](int t) { row.scan[t] = sum[t]; });
  }

  // 0 for candidates that were removed or are not likely enough.
  LFM2_BODY static uint64_t MassOf(const Row& row, int id, double min_p) {
    const double score = row.ScoreOf(id);
    if (!row.Left(id, Row::KeyOf(score))) return 0;
    if (min_p > 0 && score != row.highest && WeightOf(score, row.highest) < min_p) return 0;
    return Mass{row.highest, row.one}(score);
  }

  LFM2_BODY static uint64_t TotalMass(const Block& block, const Row& row, double min_p) {
    PerThread<uint64_t, kThreads> sum;
    Each<kThreads>(block, [&](int t) {
      sum[t] = 0;
      for (int id = t; id < row.vocab; id += kThreads) sum[t] += MassOf(row, id, min_p);
    });
    JoinAll<kThreads>(block, row.scratch, sum, Sum());
    Each<kThreads>(block, [&](int t) {
      if (t == 0) row.control[0] = sum[t];
    });
    return ReadByAll(row.control[0]);
  }

  LFM2_BODY static uint64_t SplitMix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
  }

  LFM2_BODY static int32_t Draw(const Block& block, const Row& row,
                                const Lfm2CudaSampling& params) {
    PerThread<uint64_t, kThreads> sum;
    Each<kThreads>(block, [&](int t) {
      sum[t] = 0;
      for (int id = row.ChunkBegin(t); id < row.ChunkBegin(t + 1); ++id) {
        sum[t] += MassOf(row, id, params.min_p);
      }
    });
    SumsBefore(block, row, sum);
    Each<kThreads>(block, [&](int t) {
      if (t == kThreads - 1) row.control[1] = row.scan[t] + sum[t];
    });
    const uint64_t all = ReadByAll(row.control[1]);
    const uint64_t random =
        SplitMix64(SplitMix64(params.seed) ^ static_cast<uint64_t>(params.index));
    const double uniform = static_cast<double>(random >> 11) * 0x1.0p-53;
    auto target = static_cast<uint64_t>(uniform * static_cast<double>(all));
    if (target >= all) target = all - 1;
    Each<kThreads>(block, [&](int t) {
      uint64_t reached = row.scan[t];
      if (target < reached || target >= reached + sum[t]) return;
      for (int id = row.ChunkBegin(t); id < row.ChunkBegin(t + 1); ++id) {
        reached += MassOf(row, id, params.min_p);
        if (target >= reached) continue;
        row.control[0] = static_cast<uint64_t>(id);
        return;
      }
    });
    return static_cast<int32_t>(ReadByAll(row.control[0]));
  }
};

}  // namespace lfm2::cuda
