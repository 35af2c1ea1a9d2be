#include "model/cpu/linear.h"

#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cpu/pass.h"
#include "model/kernels/matmul/matmul.h"

namespace lfm2 {
namespace {

std::string SizesOf(const PackedMatrix& matrix) {
  return ShapeToString({matrix.rows(), matrix.cols()});
}

// y[row] += scale * (B (A x[row])); rows of y are `stride` floats apart.
void AddLowRank(const CpuLowRank& pair, const float* x, int64_t tokens, int64_t stride, float* y,
                const CpuPass& pass) {
  const int64_t width = pair.b.rows();
  float* narrow = Room(pass.work.narrow, tokens * pair.a.rows());
  float* change = Room(pass.work.change, tokens * width);
  MatMul(pair.a, x, tokens, narrow, pass.pool);
  MatMul(pair.b, narrow, tokens, change, pass.pool);
  pass.pool.ParallelFor(tokens, GrainOf(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* of_row = change + row * width;
      pass.kernels.scale(of_row, pair.scale, width, of_row);
      pass.kernels.add(of_row, width, y + row * stride);
    }
  });
}

}  // namespace

absl::StatusOr<CpuLowRank> CpuLowRank::Pack(const TensorView& a, const TensorView& b, float scale,
                                            Isa isa, ThreadPool& pool) {
  LFM2_ASSIGN_OR_RETURN(PackedMatrix down,
                        PackedMatrix::Pack({&a, 1}, WeightFormat::kF32, isa, pool));
  LFM2_ASSIGN_OR_RETURN(PackedMatrix up,
                        PackedMatrix::Pack({&b, 1}, WeightFormat::kF32, isa, pool));
  if (down.rows() != up.cols()) {
    return Error(Reason::kWeightsMismatch,
                 a.name + " has the shape " + SizesOf(down) + " and " + b.name + " " + SizesOf(up) +
                     ": their ranks differ",
                 {{"tensor", b.name}});
  }
  return CpuLowRank{std::move(down), std::move(up), scale};
}

int64_t CpuLinear::bytes() const {
  auto total = matrix.bytes() + static_cast<int64_t>(bias.size() * sizeof(float));
  for (const std::optional<CpuLowRank>& pair : adapter) {
    if (pair.has_value()) total += pair->bytes();
  }
  return total;
}

absl::Status CpuLinear::Adapt(size_t part, CpuLowRank pair) {
  if (part >= parts.size()) {
    return Error(Reason::kInternal, "the linear does not have a part " + std::to_string(part));
  }
  if (pair.a.cols() != cols() || pair.b.rows() != parts[part].rows) {
    return Error(Reason::kWeightsMismatch,
                 "an adapter of " + parts[part].probe + " has the shapes " + SizesOf(pair.a) +
                     " and " + SizesOf(pair.b) + ", but the weights have " +
                     ShapeToString({parts[part].rows, cols()}),
                 {{"tensor", parts[part].probe}});
  }
  adapter.resize(parts.size());
  adapter[part] = std::move(pair);
  return absl::OkStatus();
}

void CpuLinear::Run(const float* x, float* y, const CpuPass& pass) const {
  MatMul(matrix, x, pass.rows, y, pass.pool);
  if (!bias.empty()) {
    for (int64_t row = 0; row < pass.rows; ++row) {
      pass.kernels.add(bias.data(), rows(), y + row * rows());
    }
  }
  if (!adapter.empty()) AddAdapter(adapter, x, pass.rows, y, pass);
  if (pass.probes != nullptr) Probe(y, pass);
}

void CpuLinear::AddAdapter(const CpuAdapter& changes, const float* x, int64_t tokens, float* y,
                           const CpuPass& pass) const {
  int64_t begin = 0;
  for (size_t part = 0; part < changes.size(); ++part) {
    if (changes[part].has_value()) AddLowRank(*changes[part], x, tokens, rows(), y + begin, pass);
    begin += parts[part].rows;
  }
}

void CpuLinear::Probe(const float* y, const CpuPass& pass) const {
  int64_t begin = 0;
  for (const CpuPart& part : parts) {
    if (!part.probe.empty() && parts.size() == 1) {
      pass.Probe(part.probe, y, {pass.rows, part.rows});
    } else if (!part.probe.empty()) {
      pass.ProbeColumns(part.probe, y, rows(), begin, part.rows);
    }
    begin += part.rows;
  }
}

}  // namespace lfm2
