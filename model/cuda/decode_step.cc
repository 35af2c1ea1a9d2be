#include "model/cuda/decode_step.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cuda/shim.h"

namespace lfm2 {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int kHeadDimMax = 512;  // limited by an attention block's shared memory
constexpr int kBlocksPerPart = kLfm2CudaPartTokens / kLfm2CudaBlockTokens;

int64_t Aligned(int64_t bytes) { return cuda::CeilDiv(bytes, kAlignment) * kAlignment; }

int64_t ElementBytes(int dtype) { return dtype == kLfm2CudaBf16 ? 2 : 4; }

int NextPowerOfTwo(int value) {
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(1, value))));
}

// The widest rows between two matrix products, and those that go into the second of a block.
struct Widths {
  int wide = 0, mixed = 0;

  void Add(const CudaLinear& in, const CudaLinear& out) {
    wide = std::max(wide, in.out);
    mixed = std::max(mixed, out.in);
  }
  void operator()(const CudaAttention& block) { Add(block.qkv, block.out); }
  void operator()(const CudaShortConv& block) { Add(block.in, block.out); }
  void operator()(const CudaSsmBlock& block) { Add(block.in, block.out); }
  void operator()(const CudaGatedMlp& block) { Add(block.gate_up, block.down); }
};

Widths WidthsOf(const CudaModel& model) {
  Widths widths;
  for (const CudaStage& stage : model.stages) {
    for (const CudaBranch& branch : stage.branches) {
      std::visit([&](const auto& block) { widths(block); }, branch);
    }
  }
  return widths;
}

}  // namespace

DecodeStep::Layout::Layout(const Shape& shape) {
  const int64_t ids = Aligned(shape.rows * static_cast<int64_t>(sizeof(int32_t)));
  sampling = 0;
  tokens = Aligned(shape.rows * static_cast<int64_t>(sizeof(Lfm2CudaSampling)));
  positions = tokens + ids;
  slots = positions + ids;
  tables = slots + ids;
  bytes = tables + Aligned(static_cast<int64_t>(shape.rows) * shape.parts * kBlocksPerPart *
                           static_cast<int64_t>(sizeof(int32_t)));
}

DecodeStep::DecodeStep(const Lfm2CudaFunctions& functions, Lfm2CudaContext* context,
                       CudaModel model, int rows, MemoryReserve reserve)
    : f_(functions),
      context_(context),
      model_(std::move(model)),
      rows_(rows),
      words_((model_.vocab + 31) / 32),
      reserve_(std::move(reserve)) {}

// The device must have finished with the buffers before they are freed.
DecodeStep::~DecodeStep() { f_.wait(context_); }

absl::StatusOr<std::unique_ptr<DecodeStep>> DecodeStep::Make(const Lfm2CudaFunctions& functions,
                                                             Lfm2CudaContext* context,
                                                             CudaModel model, int rows,
                                                             MemoryReserve reserve) {
  if (model.head_dim > kHeadDimMax) {
    return Error(Reason::kUnsupported, "head_dim is " + std::to_string(model.head_dim) +
                                           ", a decode step on a GPU takes at most " +
                                           std::to_string(kHeadDimMax));
  }
  for (const CudaStage& stage : model.stages) {
    if (stage.branches.empty() || stage.branches.size() > 2) {
      return Error(Reason::kUnsupported, "a stage has " + std::to_string(stage.branches.size()) +
                                             " branches, a decode step takes one or two");
    }
  }
  std::unique_ptr<DecodeStep> step(
      new DecodeStep(functions, context, std::move(model), rows, std::move(reserve)));
  LFM2_RETURN_IF_ERROR(step->Allocate());
  return step;
}

absl::Status DecodeStep::Make(CudaBuffer& buffer, int64_t bytes, CudaPlace place) const {
  LFM2_ASSIGN_OR_RETURN(buffer, CudaBuffer::Make(f_, context_, bytes, place, reserve_));
  return absl::OkStatus();
}

absl::Status DecodeStep::Allocate() {
  const Widths widths = WidthsOf(model_);
  const auto row_bytes = [&](int64_t width) {
    return Aligned(rows_ * width * ElementBytes(model_.dtype));
  };
  for (CudaBuffer* buffer : {&x_, &hidden_, &delta_[0], &delta_[1]}) {
    LFM2_RETURN_IF_ERROR(Make(*buffer, row_bytes(model_.width), CudaPlace::kDevice));
  }
  LFM2_RETURN_IF_ERROR(Make(wide_, row_bytes(std::max(1, widths.wide)), CudaPlace::kDevice));
  LFM2_RETURN_IF_ERROR(Make(mixed_, row_bytes(std::max(1, widths.mixed)), CudaPlace::kDevice));
  LFM2_RETURN_IF_ERROR(Make(logits_, row_bytes(model_.vocab), CudaPlace::kDevice));
  LFM2_RETURN_IF_ERROR(
      Make(host_logits_, model_.vocab * ElementBytes(model_.dtype), CudaPlace::kHost));
  const int64_t mask_bytes = int64_t{2} * rows_ * words_ * static_cast<int64_t>(sizeof(uint32_t));
  LFM2_RETURN_IF_ERROR(Make(masks_, mask_bytes, CudaPlace::kDevice));
  LFM2_RETURN_IF_ERROR(Make(host_masks_, mask_bytes, CudaPlace::kHost));
  const int64_t choice_bytes = rows_ * static_cast<int64_t>(sizeof(Lfm2CudaChoice));
  LFM2_RETURN_IF_ERROR(Make(choices_on_device_, choice_bytes, CudaPlace::kDevice));
  return Make(host_choices_, choice_bytes, CudaPlace::kHost);
}

// Grows the buffers whose size depends on the depth. Graphs contain addresses, so all earlier
// graphs are dropped.
absl::Status DecodeStep::MakeRoom(const Shape& shape) {
  const int64_t input = Layout(shape).bytes;
  const int64_t parts = int64_t{4} * shape.rows * model_.heads * shape.parts *
                        (model_.head_dim + 2);  // mixed, largest, sum: float32
  // One of the two allocations may have succeeded.
  const int64_t input_room = std::min(input_.bytes(), host_input_.bytes());
  if (input <= input_room && parts <= parts_.bytes()) return absl::OkStatus();
  LFM2_RETURN_IF_ERROR(CudaStatus(f_, f_.wait(context_), "waiting for the GPU"));
  graphs_.clear();
  if (input > input_room) {
    LFM2_RETURN_IF_ERROR(Make(input_, input, CudaPlace::kDevice));
    LFM2_RETURN_IF_ERROR(Make(host_input_, input, CudaPlace::kHost));
  }
  if (parts > parts_.bytes()) LFM2_RETURN_IF_ERROR(Make(parts_, parts, CudaPlace::kDevice));
  return absl::OkStatus();
}

absl::Status DecodeStep::Check(std::span<const DecodeRow> rows) const {
  if (rows.empty() || rows.size() > static_cast<size_t>(rows_)) {
    return Error(Reason::kInternal, "a decode step of " + std::to_string(rows.size()) +
                                        " rows, of 1 to " + std::to_string(rows_));
  }
  const auto words = static_cast<size_t>(words_);
  for (const DecodeRow& row : rows) {
    const bool placed = model_.heads == 0 || row.blocks.size() * kLfm2CudaBlockTokens >
                                                 static_cast<size_t>(row.position);
    const bool known = row.token >= 0 && row.token < model_.vocab;
    const bool masks_fit = (row.seen.empty() || row.seen.size() >= words) &&
                           (row.allowed.empty() || row.allowed.size() >= words);
    if (row.position < 0 || row.slot < 0 || !placed || !known || !masks_fit) {
      return Error(Reason::kInternal, "a decode row at position " + std::to_string(row.position) +
                                          " with " + std::to_string(row.blocks.size()) +
                                          " blocks and token " + std::to_string(row.token) +
                                          " cannot be run");
    }
  }
  return absl::OkStatus();
}

DecodeStep::Shape DecodeStep::ShapeOf(std::span<const DecodeRow> rows) const {
  int parts = 1;
  for (const DecodeRow& row : rows) {
    if (model_.heads > 0) parts = std::max(parts, row.position / kLfm2CudaPartTokens + 1);
  }
  return {std::min(rows_, NextPowerOfTwo(static_cast<int>(rows.size()))), NextPowerOfTwo(parts)};
}

// Padding rows: token 0 at position -1, which changes no state.
void DecodeStep::Fill(std::span<const DecodeRow> rows, const Shape& shape, const Layout& layout) {
  std::memset(host_input_.data(), 0, static_cast<size_t>(layout.bytes));
  auto* sampling = host_input_.as<Lfm2CudaSampling>(layout.sampling);
  auto* tokens = host_input_.as<int32_t>(layout.tokens);
  auto* positions = host_input_.as<int32_t>(layout.positions);
  auto* slots = host_input_.as<int32_t>(layout.slots);
  auto* tables = host_input_.as<int32_t>(layout.tables);
  const auto table_width = static_cast<size_t>(shape.parts) * kBlocksPerPart;
  std::fill_n(positions, shape.rows, -1);
  std::fill_n(slots, shape.rows, -1);
  for (size_t i = 0; i < rows.size(); ++i) {
    const DecodeRow& row = rows[i];
    tokens[i] = row.token;
    positions[i] = row.position;
    slots[i] = row.slot;
    std::copy_n(row.blocks.begin(), std::min(row.blocks.size(), table_width),
                tables + i * table_width);
    sampling[i] = row.sampling;
    sampling[i].use_seen = row.seen.empty() ? 0 : 1;
    sampling[i].use_allowed = row.allowed.empty() ? 0 : 1;
  }
}

absl::Status DecodeStep::Upload(std::span<const DecodeRow> rows, const Layout& layout) {
  int code = f_.to_device(context_, input_.data(), host_input_.data(), layout.bytes);
  const int64_t words = words_;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::span<const uint32_t> masks[2] = {rows[i].seen, rows[i].allowed};
    for (int64_t which = 0; which < 2; ++which) {
      const std::span<const uint32_t> mask = masks[which];
      if (mask.empty() || code != 0) continue;
      const int64_t at = (which * rows_ + static_cast<int64_t>(i)) * words;
      std::copy_n(mask.begin(), words, host_masks_.as<uint32_t>() + at);
      code = f_.to_device(context_, masks_.as<uint32_t>() + at, host_masks_.as<uint32_t>() + at,
                          words * static_cast<int64_t>(sizeof(uint32_t)));
    }
  }
  return CudaStatus(f_, code, "copying a step's input to the GPU");
}

absl::Status DecodeStep::Run(std::span<const DecodeRow> rows) {
  choices_.clear();
  LFM2_RETURN_IF_ERROR(Check(rows));
  const Shape shape = ShapeOf(rows);
  LFM2_RETURN_IF_ERROR(MakeRoom(shape));
  const Layout layout(shape);
  Fill(rows, shape, layout);
  LFM2_RETURN_IF_ERROR(Upload(rows, layout));
  LFM2_RETURN_IF_ERROR(Execute(shape));
  int code = f_.to_host(context_, host_choices_.data(), choices_on_device_.data(),
                        static_cast<int64_t>(rows.size() * sizeof(Lfm2CudaChoice)));
  if (code == 0) code = f_.wait(context_);
  LFM2_RETURN_IF_ERROR(CudaStatus(f_, code, "a decode step"));
  const auto* choices = host_choices_.as<Lfm2CudaChoice>();
  choices_.assign(choices, choices + rows.size());
  return absl::OkStatus();
}

absl::Status DecodeStep::Execute(const Shape& shape) {
  if (ran_.count(shape) == 0) {
    code_ = 0;
    PutModel(shape);
    if (code_ == 0) ran_.insert(shape);
    return CudaStatus(f_, code_, "starting a decode step");
  }
  auto found = graphs_.find(shape);
  if (found == graphs_.end()) {
    LFM2_ASSIGN_OR_RETURN(Graph graph, Record(shape));
    found = graphs_.emplace(shape, std::move(graph)).first;
  }
  return CudaStatus(f_, f_.replay(context_, found->second.get()), "starting a decode step");
}

absl::StatusOr<DecodeStep::Graph> DecodeStep::Record(const Shape& shape) {
  LFM2_RETURN_IF_ERROR(
      CudaStatus(f_, f_.begin_capture(context_), "beginning to record a decode step"));
  code_ = 0;
  PutModel(shape);
  Lfm2CudaGraph* graph = nullptr;
  const int ended = f_.end_capture(context_, &graph);
  Graph made(graph, GraphDeleter{this});
  LFM2_RETURN_IF_ERROR(CudaStatus(f_, code_ != 0 ? code_ : ended, "recording a decode step"));
  return made;
}

void DecodeStep::PutModel(const Shape& shape) {
  const Layout layout(shape);
  pending_[0] = pending_[1] = nullptr;
  Put(f_.embed, Lfm2CudaEmbed{model_.dtype, shape.rows, model_.width, model_.embedding,
                              input_.as<const int32_t>(layout.tokens), x_.data()});
  for (const CudaStage& stage : model_.stages) {
    PutNorm(stage.norm, shape);
    for (size_t i = 0; i < stage.branches.size(); ++i) {
      void* out = delta_[i].data();
      std::visit([&](const auto& block) { PutBranch(block, out, shape); }, stage.branches[i]);
      pending_[i] = out;
    }
  }
  PutNorm(model_.final_norm, shape);
  PutLinear({model_.head, nullptr, model_.width, model_.vocab}, hidden_.data(), logits_.data(),
            shape);
  PutSample(shape);
}

void DecodeStep::PutNorm(const void* weight, const Shape& shape) {
  Put(f_.norm, Lfm2CudaNorm{model_.dtype,
                            shape.rows,
                            model_.width,
                            model_.eps,
                            x_.data(),
                            {pending_[0], pending_[1]},
                            weight,
                            hidden_.data()});
  pending_[0] = pending_[1] = nullptr;
}

void DecodeStep::PutLinear(const CudaLinear& linear, const void* x, void* y, const Shape& shape) {
  Put(f_.gemm, Lfm2CudaGemm{model_.dtype, shape.rows, linear.in, linear.out, x, linear.weight, y});
  if (linear.bias != nullptr) {
    Put(f_.bias, Lfm2CudaBias{model_.dtype, shape.rows, linear.out, linear.bias, y});
  }
}

void DecodeStep::PutBranch(const CudaAttention& block, void* out, const Shape& shape) {
  const Layout layout(shape);
  const auto* positions = input_.as<const int32_t>(layout.positions);
  const Lfm2CudaKv kv{block.keys, block.values, input_.as<const int32_t>(layout.tables),
                      shape.parts * kBlocksPerPart};
  PutLinear(block.qkv, hidden_.data(), wide_.data(), shape);
  Put(f_.rope, Lfm2CudaRope{model_.dtype, shape.rows, model_.heads, model_.kv_heads,
                            model_.head_dim, model_.eps, block.q_norm, block.k_norm,
                            model_.frequencies, positions, wide_.data(), kv});
  const int64_t all_parts = static_cast<int64_t>(shape.rows) * model_.heads * shape.parts;
  auto* mixed = parts_.as<float>();
  float* largest = mixed + all_parts * model_.head_dim;
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(model_.head_dim)));
  Put(f_.attend, Lfm2CudaAttend{model_.dtype, shape.rows, model_.heads, model_.kv_heads,
                                model_.head_dim, block.qkv.out, shape.parts, scale, wide_.data(),
                                positions, kv, mixed, largest, largest + all_parts, mixed_.data()});
  PutLinear(block.out, mixed_.data(), out, shape);
}

void DecodeStep::PutBranch(const CudaShortConv& block, void* out, const Shape& shape) {
  const auto* slots = input_.as<const int32_t>(Layout(shape).slots);
  PutLinear(block.in, hidden_.data(), wide_.data(), shape);
  Put(f_.conv, Lfm2CudaConv{model_.dtype, shape.rows, model_.width, model_.taps,
                            static_cast<int64_t>(model_.taps - 1) * model_.width, wide_.data(),
                            block.weight, block.bias, slots, block.states, mixed_.data()});
  PutLinear(block.out, mixed_.data(), out, shape);
}

void DecodeStep::PutBranch(const CudaSsmBlock& block, void* out, const Shape& shape) {
  const auto* slots = input_.as<const int32_t>(Layout(shape).slots);
  PutLinear(block.in, hidden_.data(), wide_.data(), shape);
  Put(f_.ssm,
      Lfm2CudaSsm{model_.dtype, shape.rows, model_.width, model_.ssm_states,
                  static_cast<int64_t>(model_.ssm_states) * model_.width, wide_.data(), block.decay,
                  block.input, block.output, block.skip, slots, block.states, mixed_.data()});
  PutLinear(block.out, mixed_.data(), out, shape);
}

void DecodeStep::PutBranch(const CudaGatedMlp& block, void* out, const Shape& shape) {
  PutLinear(block.gate_up, hidden_.data(), wide_.data(), shape);
  Put(f_.silu_mul,
      Lfm2CudaSiluMul{model_.dtype, shape.rows, block.down.in, wide_.data(), mixed_.data()});
  PutLinear(block.down, mixed_.data(), out, shape);
}

void DecodeStep::PutSample(const Shape& shape) {
  const auto* seen = masks_.as<const uint32_t>();
  Put(f_.sample, Lfm2CudaSample{model_.dtype, shape.rows, model_.vocab, words_, logits_.data(),
                                input_.as<const Lfm2CudaSampling>(Layout(shape).sampling), seen,
                                seen + static_cast<int64_t>(rows_) * words_,
                                choices_on_device_.as<Lfm2CudaChoice>()});
}

absl::StatusOr<std::vector<float>> DecodeStep::ReadLogits(size_t row) {
  if (row >= choices_.size()) {
    return Error(Reason::kInternal,
                 "row " + std::to_string(row) + " of a step of " + std::to_string(choices_.size()));
  }
  const int64_t bytes = model_.vocab * ElementBytes(model_.dtype);
  int code = f_.to_host(context_, host_logits_.data(),
                        logits_.as<const unsigned char>(static_cast<int64_t>(row) * bytes), bytes);
  if (code == 0) code = f_.wait(context_);
  LFM2_RETURN_IF_ERROR(CudaStatus(f_, code, "copying logits from the GPU"));
  std::vector<float> out(static_cast<size_t>(model_.vocab));
  if (model_.dtype == kLfm2CudaF32) {
    std::copy_n(host_logits_.as<const float>(), out.size(), out.begin());
  } else {
    const auto* halves = host_logits_.as<const cuda::Bf16>();
    std::transform(halves, halves + out.size(), out.begin(),
                   [](cuda::Bf16 half) { return cuda::ToFloat(half); });
  }
  return out;
}

}  // namespace lfm2
