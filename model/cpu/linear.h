// A linear layer of the forward pass: the only place in model/cpu where a matrix product, its bias,
// its adapter and its probe come together.
//
// Linears that share an input are stacked into one matrix: a part is one of them, and has a probe
// and an adapter's pair of its own. Thread rule: const after load; Run is of the pass's thread.
// Ownership: owns the matrix, the bias and the adapter; borrows the pass's scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"
#include "model/kernels/machine/isa.h"
#include "model/kernels/machine/thread_pool.h"
#include "model/kernels/matmul/packed_matrix.h"

namespace lfm2 {

struct CpuPass;  // pass.h

// A low-rank change of one part: adds scale * B (A x) to its rows of y, all in float32.
struct CpuLowRank {
  // a [rank, in], b [out, rank], rank >= 1. kWeightsMismatch when the ranks differ; errors of
  // PackedMatrix::Pack.
  static absl::StatusOr<CpuLowRank> Pack(const TensorView& a, const TensorView& b, float scale,
                                         Isa isa, ThreadPool& pool);

  int64_t bytes() const { return a.bytes() + b.bytes(); }

  PackedMatrix a;
  PackedMatrix b;
  float scale = 1.0F;
};

// One entry for each part of its linear; empty when no part is changed.
using CpuAdapter = std::vector<std::optional<CpuLowRank>>;

struct CpuPart {
  int64_t rows = 0;   // of the stacked matrix
  std::string probe;  // "model.layers.0.conv.in_proj"; empty: not probed
};

struct CpuLinear {
  PackedMatrix matrix;      // the parts' rows, one part after the other
  std::vector<float> bias;  // [rows]; empty: none
  CpuAdapter adapter;       // for every row of a batch
  std::vector<CpuPart> parts;

  int64_t rows() const { return matrix.rows(); }
  int64_t cols() const { return matrix.cols(); }
  int64_t bytes() const;

  // Gives a part its pair. kWeightsMismatch when A or B does not have the part's sizes.
  absl::Status Adapt(size_t part, CpuLowRank pair);

  // For all rows of the pass: y [T][rows] = x [T][cols] times the matrix, plus bias and adapter;
  // then the parts' probes. x and y do not overlap.
  void Run(const float* x, float* y, const CpuPass& pass) const;

  // Adds an adapter to `tokens` neighbouring rows of a batch. A row's result depends on that row
  // alone, so a batch whose rows are grouped by adapter takes one call for each group.
  void AddAdapter(const CpuAdapter& changes, const float* x, int64_t tokens, float* y,
                  const CpuPass& pass) const;

 private:
  void Probe(const float* y, const CpuPass& pass) const;
};

}  // namespace lfm2
