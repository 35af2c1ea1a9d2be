// Probes of one forward pass: per layer and sub-block sum, abs_mean, max and norm, and the logits.
// The same code answers the Parity RPC and the tests labelled parity.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/stop_check.h"
#include "model/parity/report_builder.h"
#include "model/torch/decoder.h"

namespace lfm2 {

// A float32 pass from an empty state, chunk by chunk. Thread rule: one thread. Ownership: shares
// the weights, or owns a float32 copy of them. Throws nothing.
class ParityPass {
 public:
  static absl::StatusOr<std::unique_ptr<ParityPass>> Start(const Decoder& decoder);
  // Adds what the chunk gives to `report`. kPromptEmpty, kInvalidArgument, kOutOfMemory,
  // kGpuOutOfMemory, kInternal: then both are spent.
  absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report);

 private:
  explicit ParityPass(Decoder decoder);
  void Run(std::span<const int32_t> tokens, ReportBuilder& report);

  const Decoder decoder_;  // float32
  std::unique_ptr<SequenceState> state_;
};

// The whole pass, in chunks, between which `stop` is asked; all logits are kept.
absl::StatusOr<ParityReport> RunParity(const Decoder& decoder, std::span<const int32_t> tokens,
                                       bool keep_values, const StopCheck& stop = {});

}  // namespace lfm2
