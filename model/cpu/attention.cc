#include <algorithm>
#include <cmath>

#include "model/cpu/pass.h"

namespace lfm2 {
namespace {

// The offsets of q, k and v in a row of [T][qkv].
struct QkvLayout {
  explicit QkvLayout(const ModelConfig& config)
      : heads(config.num_attention_heads),
        kv_heads(config.num_key_value_heads),
        group(heads / kv_heads),
        head_dim(config.head_dim),
        width((heads + 2 * kv_heads) * head_dim) {}
  int64_t heads, kv_heads, group, head_dim, width;
  int64_t k_begin() const { return heads * head_dim; }
  int64_t v_begin() const { return (heads + kv_heads) * head_dim; }
};

int64_t PartsOf(int64_t keys) { return (keys + kKvPartTokens - 1) / kKvPartTokens; }

class AttentionLayer {
 public:
  AttentionLayer(const ModelConfig& config, const CpuAttention& attention, CpuPass& pass)
      : layout_(config),
        eps_(static_cast<float>(config.norm_eps)),
        scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))),
        attention_(attention),
        pass_(pass),
        kernels_(pass.kernels),
        attend_(pass.shape.kv_type == KvType::kBF16 ? kernels_.attend_bf16 : kernels_.attend_f32),
        store_(pass.shape.kv_type == KvType::kBF16 ? kernels_.store_bf16 : kernels_.store_f32) {}

  void Run() {
    const int64_t rows = pass_.rows, width = layout_.heads * layout_.head_dim;
    qkv_ = Room(pass_.work.wide, rows * layout_.width);
    mixed_ = Room(pass_.work.middle, rows * width);
    attention_.qkv.Run(pass_.work.normed.data(), qkv_, pass_);
    ProbeNorms();
    pass_.pool.ParallelFor(rows, GrainOf(layout_.width), [this](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) PrepareRow(row);
    });
    const auto tiles = static_cast<int64_t>(pass_.tiles.size());
    pass_.pool.ParallelFor(tiles, 1, [this](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) RunTile(pass_.tiles[static_cast<size_t>(i)]);
    });
    JoinSplitTiles();
    float* out = Room(pass_.work.out, rows * attention_.out.rows());
    attention_.out.Run(mixed_, out, pass_);
  }

 private:
  std::byte* TileOf(const CpuState& state, int64_t token, int64_t kv_head) const {
    return state.block(token) +
           (attention_.index * layout_.kv_heads + kv_head) * pass_.shape.tile_bytes();
  }

  // Applies norm and RoPE to all heads of one token and stores its keys and values in their block.
  void PrepareRow(int64_t row) const {
    const int64_t hd = layout_.head_dim, half = hd / 2;
    float* q = qkv_ + row * layout_.width;
    float* k = q + layout_.k_begin();
    const float* v = q + layout_.v_begin();
    const float* cos = pass_.work.cos.data() + row * half;
    const float* sin = pass_.work.sin.data() + row * half;
    for (int64_t head = 0; head < layout_.heads; ++head, q += hd) {
      if (!attention_.q_norm.empty()) kernels_.rms_norm(q, attention_.q_norm.data(), hd, eps_, q);
      kernels_.rope(cos, sin, hd, scale_, q);
    }
    const CpuState& state = StateOf(row);
    const int64_t token = pass_.position(row);
    if (!state.Writes(token)) return;
    for (int64_t head = 0; head < layout_.kv_heads; ++head, k += hd, v += hd) {
      if (!attention_.k_norm.empty()) kernels_.rms_norm(k, attention_.k_norm.data(), hd, eps_, k);
      kernels_.rope(cos, sin, hd, 1.0F, k);
      store_(k, v, hd, token % kKvBlockTokens, TileOf(state, token, head));
    }
  }

  const CpuState& StateOf(int64_t row) const {
    return *pass_.spans[static_cast<size_t>(pass_.row_span[static_cast<size_t>(row)])].state;
  }

  // Computes attention of the tile's queries over its parts of the keys, one part after the other.
  void RunTile(const AttendTile& tile) const {
    const int64_t padded = PaddedHeadDim(layout_.head_dim);
    alignas(64) float scores[kAttendRows * kKvPartTokens];
    alignas(64) float now[kAttendRows][512], all[kAttendRows][512];
    float all_largest[kAttendRows] = {}, all_sum[kAttendRows] = {};
    const CpuSpan& span = pass_.spans[static_cast<size_t>(tile.span)];
    const int64_t first_token = span.state->position();
    for (int64_t p = tile.first_part; p < tile.end_part; ++p) {
      AttendPart part;
      const void* blocks[kKvPartBlocks];
      part.tiles = blocks;
      part.head_dim = layout_.head_dim;
      part.scores = scores;
      int64_t place[kAttendRows], most = 0;
      for (int64_t r = 0; r < tile.rows; ++r) {
        const int64_t token = (tile.first_row + r) / layout_.group;
        const int64_t keys = std::min(first_token + token + 1 - p * kKvPartTokens, kKvPartTokens);
        if (keys <= 0) continue;
        const int64_t row = pass_.begins[static_cast<size_t>(tile.span)] + token;
        const int64_t head = tile.kv_head * layout_.group + (tile.first_row + r) % layout_.group;
        place[part.rows] = r;
        part.q[part.rows] = qkv_ + row * layout_.width + head * layout_.head_dim;
        part.keys[part.rows] = keys;
        part.mixed[part.rows] = p == tile.first_part ? all[r] : now[r];
        ++part.rows;
        most = std::max(most, keys);
      }
      for (int64_t b = 0; b * kKvBlockTokens < most; ++b) {
        blocks[b] = TileOf(*span.state, p * kKvPartTokens + b * kKvBlockTokens, tile.kv_head);
      }
      attend_(part);
      for (int64_t i = 0; i < part.rows; ++i) {
        const int64_t r = place[i];
        if (p == tile.first_part) {
          all_largest[r] = part.largest[i];
          all_sum[r] = part.sum[i];
        } else {
          kernels_.join(now[r], part.largest[i], part.sum[i], padded, all[r], &all_largest[r],
                        &all_sum[r]);
        }
      }
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
      if (tile.result < 0) {
        Finish(tile, r, all[r], all_sum[r]);
      } else {
        float* to = pass_.work.parts.data() + (tile.result + r) * (padded + 2);
        std::copy_n(all[r], padded, to);
        to[padded] = all_largest[r];
        to[padded + 1] = all_sum[r];
      }
    }
  }

  void Finish(const AttendTile& tile, int64_t r, const float* mixed, float sum) const {
    const int64_t token = (tile.first_row + r) / layout_.group;
    const int64_t head = tile.kv_head * layout_.group + (tile.first_row + r) % layout_.group;
    const int64_t row = pass_.begins[static_cast<size_t>(tile.span)] + token;
    kernels_.scale(mixed, 1.0F / sum, layout_.head_dim,
                   mixed_ + (row * layout_.heads + head) * layout_.head_dim);
  }

  // Tiles with the same queries are consecutive, in order of their parts.
  void JoinSplitTiles() const {
    const int64_t padded = PaddedHeadDim(layout_.head_dim);
    for (size_t i = 0; i < pass_.tiles.size(); ++i) {
      const AttendTile& tile = pass_.tiles[i];
      if (tile.result < 0 || tile.first_part != 0) continue;
      for (int64_t r = 0; r < tile.rows; ++r) {
        float* all = pass_.work.parts.data() + (tile.result + r) * (padded + 2);
        for (size_t j = i + 1; j < pass_.tiles.size() && pass_.tiles[j].first_part != 0; ++j) {
          const float* next = pass_.work.parts.data() + (pass_.tiles[j].result + r) * (padded + 2);
          kernels_.join(next, next[padded], next[padded + 1], padded, all, &all[padded],
                        &all[padded + 1]);
        }
        Finish(tile, r, all, all[padded + 1]);
      }
    }
  }

  void ProbeNorms() const {
    if (pass_.probes == nullptr) return;
    ProbeNorm(attention_.q_norm_probe, attention_.q_norm, 0, layout_.heads);
    ProbeNorm(attention_.k_norm_probe, attention_.k_norm, layout_.k_begin(), layout_.kv_heads);
  }

  void ProbeNorm(const std::string& name, const std::vector<float>& weight, int64_t begin,
                 int64_t heads) const {
    if (weight.empty()) return;
    const int64_t hd = layout_.head_dim;
    float* values = Room(pass_.work.probe, pass_.rows * heads * hd);
    for (int64_t row = 0; row < pass_.rows; ++row) {
      for (int64_t head = 0; head < heads; ++head) {
        kernels_.rms_norm(qkv_ + row * layout_.width + begin + head * hd, weight.data(), hd, eps_,
                          values + (row * heads + head) * hd);
      }
    }
    pass_.Probe(name, values, {pass_.rows, heads, hd});
  }

  const QkvLayout layout_;
  const float eps_, scale_;
  const CpuAttention& attention_;
  CpuPass& pass_;
  const LayerKernels& kernels_;
  void (*const attend_)(AttendPart& part);
  void (*const store_)(const float* k, const float* v, int64_t head_dim, int64_t slot, void* tile);
  float* qkv_ = nullptr;    // [T][qkv]
  float* mixed_ = nullptr;  // [T][heads * head_dim]
};

}  // namespace

// A tile has a few queries and all parts of their keys, unless that would leave threads idle; then
// each part is a separate tile. Both ways join the parts in order, so the results are the same.
void PlanAttention(const ModelConfig& config, CpuPass& pass) {
  const QkvLayout layout(config);
  int64_t whole_tiles = 0;
  for (const CpuSpan& span : pass.spans) {
    const int64_t rows = static_cast<int64_t>(span.tokens.size()) * layout.group;
    whole_tiles += (rows + kAttendRows - 1) / kAttendRows * layout.kv_heads;
  }
  const int threads = pass.pool.threads();
  const bool split = threads > 1 && whole_tiles < int64_t{4} * threads;
  int64_t results = 0;
  for (size_t s = 0; s < pass.spans.size(); ++s) {
    const int64_t rows = static_cast<int64_t>(pass.spans[s].tokens.size()) * layout.group;
    for (int64_t head = 0; head < layout.kv_heads; ++head) {
      for (int64_t first = 0; first < rows; first += kAttendRows) {
        AttendTile tile;
        tile.span = static_cast<int64_t>(s);
        tile.kv_head = head;
        tile.first_row = first;
        tile.rows = std::min(kAttendRows, rows - first);
        const int64_t least = pass.spans[s].state->position() + first / layout.group + 1;
        const int64_t most =
            pass.spans[s].state->position() + (first + tile.rows - 1) / layout.group + 1;
        tile.end_part = PartsOf(most);
        // A tile is not split if its queries see different numbers of parts.
        if (!split || tile.end_part == 1 || PartsOf(least) != tile.end_part) {
          pass.tiles.push_back(tile);
          continue;
        }
        const int64_t parts = tile.end_part;
        for (int64_t p = 0; p < parts; ++p) {
          tile.first_part = p;
          tile.end_part = p + 1;
          tile.result = results;
          results += tile.rows;
          pass.tiles.push_back(tile);
        }
      }
    }
  }
  if (results > 0) Room(pass.work.parts, results * (PaddedHeadDim(layout.head_dim) + 2));
}

void RunAttention(const ModelConfig& config, const CpuAttention& attention, CpuPass& pass) {
  AttentionLayer(config, attention, pass).Run();
}

}  // namespace lfm2
