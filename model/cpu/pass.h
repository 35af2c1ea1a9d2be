// The data of one running forward pass, shared by the blocks of all layers. Internal to model/cpu.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/cpu/decoder.h"

namespace lfm2 {

// Scratch memory, reused by later passes.
struct CpuWorkspace {
  std::vector<float> x;         // [T][d] residual stream
  std::vector<float> normed;    // [T][d] input of a branch
  std::vector<float> wide;      // [T][..] output of a branch's first matrix
  std::vector<float> middle;    // [T][..] input of its last matrix
  std::vector<float> out;       // [T][d] output of the branch
  std::vector<float> logits;    // [rows][vocab]
  std::vector<float> cos, sin;  // [T][head_dim / 2]
  std::vector<float> parts;     // attention results for parts of the keys
  std::vector<float> narrow;    // [T][rank] output of an adapter's A
  std::vector<float> change;    // [T][..] output of its B
  std::vector<float> probe;
};

// Returns at least `size` floats of a buffer; its old content may be lost.
inline float* Room(std::vector<float>& buffer, int64_t size) {
  if (buffer.size() < static_cast<size_t>(size)) {
    buffer.clear();
    buffer.resize(static_cast<size_t>(size));
  }
  return buffer.data();
}

// Consecutive queries of one KV head and one span, in order of (token, head of the group).
struct AttendTile {
  int64_t span = 0;
  int64_t kv_head = 0;
  int64_t first_row = 0, rows = 0;  // of the span's tokens * group
  int64_t first_part = 0, end_part = 0;
  int64_t result = -1;  // index in `parts` if the keys are split over tiles; -1: not split
};

struct CpuPass {
  std::span<const CpuSpan> spans;
  std::vector<int64_t> begins;                           // first row of each span
  std::vector<std::span<const Checkpoint>> checkpoints;  // of each span
  std::vector<int64_t> row_span;                         // of each row
  std::vector<int64_t> logit_rows;                       // ascending
  std::vector<AttendTile> tiles;
  int64_t rows = 0;
  bool pending = false;          // `out` has not been added to `x` yet
  bool only_logit_rows = false;  // x holds only the rows that need logits
  const CpuProbeSink* probes = nullptr;

  const LayerKernels& kernels;
  const StateShape& shape;
  CpuWorkspace& work;
  ThreadPool& pool;

  int64_t position(int64_t row) const {
    const auto s = static_cast<size_t>(row_span[static_cast<size_t>(row)]);
    return spans[s].state->position() + row - begins[s];
  }
  void Probe(const std::string& name, const float* values,
             const std::vector<int64_t>& shape_of) const;
  // Probes columns [begin, begin + width) of [rows][stride] as a matrix.
  void ProbeColumns(const std::string& name, const float* values, int64_t stride, int64_t begin,
                    int64_t width) const;
};

// Elementwise work on fewer floats than this per range is not split over threads.
inline constexpr int64_t kParallelFloats = 16'384;
inline int64_t GrainOf(int64_t floats_per_row) {
  return std::max<int64_t>(1, kParallelFloats / std::max<int64_t>(1, floats_per_row));
}

// Chooses which queries are computed together, for all attention layers of the pass.
void PlanAttention(const ModelConfig& config, CpuPass& pass);
// Each of these reads `normed` and writes `out`.
void RunAttention(const ModelConfig& config, const CpuAttention& attention, CpuPass& pass);
void RunShortConv(const CpuShortConv& conv, CpuPass& pass);
void RunSsm(const CpuSsm& ssm, const std::string& prefix, CpuPass& pass);

}  // namespace lfm2
