// Runs one token of each of several sequences through a whole model: calls liblfm2_cuda.so in
// order, records the calls as a graph for each batch size and depth, and replays it. A step's input
// is uploaded in one copy; the host waits only for the sampled ids.
//
// The batch size and the number of parts of the longest row's keys are padded to powers of two;
// there is one graph for each pair of them. The first step of a pair runs directly, because cuBLAS
// then loads its kernels; the second records. Thread rule: one thread at a time. Ownership: borrows
// the context and everything that the model points to.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "model/cuda/cuda_library.h"
#include "model/cuda/lfm2_cuda.h"

namespace lfm2 {

// Pointers are device pointers; shapes and types are those of lfm2_cuda.h.
struct CudaLinear {
  const void* weight = nullptr;  // [out][in]
  const void* bias = nullptr;    // [out] or null
  int in = 0, out = 0;
};

struct CudaAttention {
  CudaLinear qkv, out;
  const void *q_norm = nullptr, *k_norm = nullptr;
  void *keys = nullptr, *values = nullptr;  // this layer's blocks
};

struct CudaShortConv {
  CudaLinear in, out;
  const void *weight = nullptr, *bias = nullptr;
  void* states = nullptr;  // this layer's states of all slots
};

struct CudaSsmBlock {
  CudaLinear in, out;
  const float *decay = nullptr, *input = nullptr, *output = nullptr, *skip = nullptr;
  float* states = nullptr;
};

struct CudaGatedMlp {
  CudaLinear gate_up, down;
};

using CudaBranch = std::variant<CudaAttention, CudaShortConv, CudaSsmBlock, CudaGatedMlp>;

// Computes x += the sum of branch(norm(x)) over all branches.
struct CudaStage {
  const void* norm = nullptr;
  std::vector<CudaBranch> branches;  // one or two
};

struct CudaModel {
  int dtype = kLfm2CudaF32;
  int vocab = 0, width = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  int taps = 0, ssm_states = 0;
  float eps = 0;
  const void *embedding = nullptr, *final_norm = nullptr, *head = nullptr;
  const float* frequencies = nullptr;  // [head_dim / 2], if any layer has attention
  std::vector<CudaStage> stages;       // of all layers, in order
};

struct DecodeRow {
  int32_t token = 0;
  int32_t position = 0;                     // tokens that the sequence has seen
  int32_t slot = 0;                         // of the sequence's recurrent states
  std::span<const int32_t> blocks;          // enough for position + 1 tokens
  Lfm2CudaSampling sampling{};              // use_seen and use_allowed are set from the spans below
  std::span<const uint32_t> seen, allowed;  // empty, or a bit for every token
};

class DecodeStep {
 public:
  // `rows`: the most rows of a step. `reserve` is called when memory runs out, now or in a step.
  // kUnsupported, kGpuOutOfMemory.
  static absl::StatusOr<std::unique_ptr<DecodeStep>> Make(const Lfm2CudaFunctions& functions,
                                                          Lfm2CudaContext* context, CudaModel model,
                                                          int rows,
                                                          MemoryReserve reserve = nullptr);
  ~DecodeStep();
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  int max_rows() const { return rows_; }
  // Runs 1 to max_rows() rows. Advances keys, values and states by one token per row. After an
  // error the states of all rows are unspecified. kGpuOutOfMemory, kGpuFault; kInternal for rows
  // that break the rules above.
  absl::Status Run(std::span<const DecodeRow> rows);
  // The results of the last Run, one per row.
  std::span<const Lfm2CudaChoice> choices() const { return choices_; }
  // The logits of one row of the last Run: [vocab] as float32.
  absl::StatusOr<std::vector<float>> ReadLogits(size_t row);
  int64_t graphs() const { return static_cast<int64_t>(graphs_.size()); }

 private:
  struct Shape {
    int rows = 0, parts = 0;
    friend auto operator<=>(const Shape&, const Shape&) = default;
  };
  // Byte offsets of the parts of one upload.
  struct Layout {
    explicit Layout(const Shape& shape);
    int64_t sampling, tokens, positions, slots, tables, bytes;
  };
  struct GraphDeleter {
    const DecodeStep* step;
    void operator()(Lfm2CudaGraph* graph) const { step->f_.drop(step->context_, graph); }
  };
  using Graph = std::unique_ptr<Lfm2CudaGraph, GraphDeleter>;

  DecodeStep(const Lfm2CudaFunctions& functions, Lfm2CudaContext* context, CudaModel model,
             int rows, MemoryReserve reserve);
  absl::Status Allocate();
  absl::Status Make(CudaBuffer& buffer, int64_t bytes, CudaPlace place) const;
  absl::Status MakeRoom(const Shape& shape);
  absl::Status Check(std::span<const DecodeRow> rows) const;
  Shape ShapeOf(std::span<const DecodeRow> rows) const;
  void Fill(std::span<const DecodeRow> rows, const Shape& shape, const Layout& layout);
  absl::Status Upload(std::span<const DecodeRow> rows, const Layout& layout);
  absl::Status Execute(const Shape& shape);
  absl::StatusOr<Graph> Record(const Shape& shape);

  // Each puts one piece of work on the stream, unless an earlier one failed (code_).
  template <typename Args>
  void Put(int (*function)(Lfm2CudaContext*, const Args*), const Args& args) {
    if (code_ == 0) code_ = function(context_, &args);
  }
  void PutModel(const Shape& shape);
  void PutNorm(const void* weight, const Shape& shape);
  void PutLinear(const CudaLinear& linear, const void* x, void* y, const Shape& shape);
  void PutBranch(const CudaAttention& block, void* out, const Shape& shape);
  void PutBranch(const CudaShortConv& block, void* out, const Shape& shape);
  void PutBranch(const CudaSsmBlock& block, void* out, const Shape& shape);
  void PutBranch(const CudaGatedMlp& block, void* out, const Shape& shape);
  void PutSample(const Shape& shape);

  const Lfm2CudaFunctions& f_;
  Lfm2CudaContext* const context_;
  const CudaModel model_;
  const int rows_;
  const int words_;  // of a mask
  const MemoryReserve reserve_;

  CudaBuffer x_, hidden_, delta_[2], wide_, mixed_, logits_;  // activations
  CudaBuffer parts_;                                          // of attention
  CudaBuffer input_, host_input_, masks_, host_masks_;        // seen of all rows, then allowed
  CudaBuffer choices_on_device_, host_choices_, host_logits_;

  int code_ = 0;
  const void* pending_[2] = {nullptr, nullptr};  // what the next norm adds to x
  std::set<Shape> ran_;                          // shapes that have run once
  std::map<Shape, Graph> graphs_;
  std::vector<Lfm2CudaChoice> choices_;
};

}  // namespace lfm2
