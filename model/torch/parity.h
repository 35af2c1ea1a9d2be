// Probes of one forward pass: sum, abs_mean, max and norm for each layer and sub-block, and the
// logits. Used by the Parity RPC and by the tests labelled parity.
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
  // Adds the chunk's probes to `report`. kPromptEmpty, kInvalidArgument, kOutOfMemory,
  // kGpuOutOfMemory, kInternal. After an error neither this pass nor `report` may be used.
  absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report);

 private:
  explicit ParityPass(Decoder decoder);
  void Run(std::span<const int32_t> tokens, ReportBuilder& report);

  const Decoder decoder_;  // float32
  std::unique_ptr<SequenceState> state_;
};

// Runs the whole pass in chunks and calls `stop` between them; keeps all logits.
absl::StatusOr<ParityReport> RunParity(const Decoder& decoder, std::span<const int32_t> tokens,
                                       bool keep_values, const StopCheck& stop = {});

}  // namespace lfm2
