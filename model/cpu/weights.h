// A model's weights in the layout and order in which the CPU kernels read them.
//
// Matrices with the same input are stacked (q, k and v; gate and up). The embedding and a tied head
// are one matrix. Everything except matrices is float32. Thread rule: const after load. Ownership:
// owns all of its memory; the source may be closed after loading.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/cpu/linear.h"
#include "model/cpu/state.h"
#include "model/formats/tensor_archive.h"
#include "model/kernels/machine/thread_pool.h"
#include "model/kernels/matmul/packed_matrix.h"

namespace lfm2 {

// `index` numbers the layers of one kind, as StateShape does. An empty vector: the model does not
// have this tensor.
struct CpuAttention {
  int64_t index = 0;
  CpuLinear qkv;  // parts: q of all heads, k of all KV heads, v of all KV heads
  CpuLinear out;
  std::vector<float> q_norm, k_norm;  // [head_dim]
  std::string q_norm_probe, k_norm_probe;
};

struct CpuShortConv {
  int64_t index = 0;
  CpuLinear in, out;
  std::vector<float> taps;  // [L][d]: tap L-1 is multiplied with the current token
  std::vector<float> bias;  // [d]
  std::string probe;        // of the convolution
};

struct CpuSsm {
  int64_t index = 0;
  CpuLinear in, out;
  std::vector<float> decay, input, output;  // [N][d]: dA, dB, C
  std::vector<float> skip;                  // [d]: D
};

struct CpuGatedMlp {
  CpuLinear gate_up, down;
};

struct CpuBranch {
  std::string prefix;  // of its probes: "model.layers.0.conv"
  std::variant<CpuAttention, CpuShortConv, CpuSsm, CpuGatedMlp> block;

  bool has_state() const { return !std::holds_alternative<CpuGatedMlp>(block); }
};

struct CpuStage {
  std::string norm_name;
  std::vector<float> norm;  // [d]
  std::vector<CpuBranch> branches;
};

struct CpuLayer {
  std::string name;  // "model.layers.0"
  std::vector<CpuStage> stages;
};

class CpuWeights {
 public:
  struct Options {
    WeightFormat format = WeightFormat::kF32;  // of matrices; int4: embedding and head are int8
    Isa isa = Isa::kPortable;
  };
  // Returns a view of a tensor of the config's list, which is read immediately. An error ends the
  // load.
  using Source = std::function<absl::StatusOr<TensorView>(const TensorSpec& spec)>;
  // Called after each matrix has been packed: its view is not read again.
  using Packed = std::function<void(const TensorView& view)>;

  // kWeightsMismatch for a tensor that is absent or of another shape; kUnsupported for a size that
  // the kernels do not support; errors of PackedMatrix::Pack.
  static absl::StatusOr<std::shared_ptr<const CpuWeights>> Load(const ModelConfig& config,
                                                                const Source& source,
                                                                const Options& options,
                                                                ThreadPool& pool,
                                                                const Packed& packed = nullptr);
  static absl::StatusOr<std::shared_ptr<const CpuWeights>> FromArchive(const ModelConfig& config,
                                                                       const TensorArchive& archive,
                                                                       const Options& options,
                                                                       ThreadPool& pool);

  const ModelConfig& config() const { return config_; }
  WeightFormat format() const { return options_.format; }
  Isa isa() const { return options_.isa; }
  KvType kv_type() const {
    return options_.format == WeightFormat::kF32 ? KvType::kF32 : KvType::kBF16;
  }
  const PackedMatrix& embedding() const {  // [vocab_size, d]
    return embedding_.has_value() ? *embedding_ : head_->matrix;
  }
  const CpuLinear& head() const { return *head_; }
  const std::vector<CpuLayer>& layers() const { return layers_; }
  const std::vector<float>& final_norm() const { return final_norm_; }
  int64_t bytes() const;

 private:
  friend class CpuWeightsLoader;
  CpuWeights() = default;

  ModelConfig config_;
  Options options_;
  std::optional<PackedMatrix> embedding_;  // absent if the head's matrix is also the embedding
  std::optional<CpuLinear> head_;
  std::vector<CpuLayer> layers_;
  std::vector<float> final_norm_;
};

}  // namespace lfm2
