// A linear layer of the forward pass: matrix product, bias, adapter and probe. model/cpu computes
// them only here.
//
// Linears with the same input are stacked into one matrix. Each of them is a part, with its own
// probe and its own adapter pair. Thread rule: const after load; only the pass's thread calls Run.
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

// A low-rank update of one part: adds scale * B (A x) to its rows of y, all in float32.
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

// One entry per part of the linear; empty if no part is changed.
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

  // Sets a part's adapter pair. kWeightsMismatch if A or B does not fit the part's sizes.
  absl::Status Adapt(size_t part, CpuLowRank pair);

  // For all rows of the pass: computes y [T][rows] = x [T][cols] times the matrix, plus bias and
  // adapter, then calls the parts' probes. x and y must not overlap.
  void Run(const float* x, float* y, const CpuPass& pass) const;

  // Applies an adapter to `tokens` consecutive rows of a batch. Each row's result depends on that
  // row only, so a batch grouped by adapter needs one call per group.
  void AddAdapter(const CpuAdapter& changes, const float* x, int64_t tokens, float* y,
                  const CpuPass& pass) const;

 private:
  void Probe(const float* y, const CpuPass& pass) const;
};

}  // namespace lfm2
