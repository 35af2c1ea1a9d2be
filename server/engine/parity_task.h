// Runs a pass with probes in turns of one chunk, so that a long one does not delay decoding
// sequences. Thread rule: the engine's thread, which must also destroy it. Ownership: owns its
// pass.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/parity/report_builder.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

class ParityTask {
 public:
  // At least one token; a chunk of at least 1.
  ParityTask(std::vector<int32_t> tokens, const ReportKeep& keep, int64_t chunk_tokens)
      : tokens_(std::move(tokens)),
        chunk_tokens_(chunk_tokens),
        report_(static_cast<int64_t>(tokens_.size()), keep) {}

  // Runs one chunk. True if there are more; must not be called again after an error.
  absl::StatusOr<bool> Advance(ModelRunner& runner);
  // Size of the whole report; known after the first turn.
  int64_t report_bytes() const { return report_.bytes(); }
  ParityReport Finish() { return report_.Finish(); }  // after the last turn

 private:
  const std::vector<int32_t> tokens_;
  const int64_t chunk_tokens_;
  size_t done_ = 0;  // tokens done
  std::unique_ptr<ProbePass> pass_;
  ReportBuilder report_;
};

}  // namespace lfm2
