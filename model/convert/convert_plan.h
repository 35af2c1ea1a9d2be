// Maps each tensor of the new model to a tensor of the source: the rules of model.md section 6 as
// data. Thread rule: pure. No LibTorch. Holds pointers into the given archive.
#pragma once

#include <vector>

#include "model/convert/conversion.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct TensorPlan {
  TensorSpec target;
  const TensorView* source = nullptr;  // null: fresh
  int64_t averaged_heads = 0;          // if more than 0: averages groups of this many kv heads
  TensorReport report;
};

struct ConversionPlan {
  std::vector<TensorPlan> tensors;      // every tensor of the target, in the config's order
  std::vector<TensorReport> left_over;  // unused, kUnexpected; in the source's order

  // Whether the new model has exactly the source's tensors, with the same names and unchanged.
  bool IsWholeSource() const;
};

// `source_config` is null for a partial load. Where its architecture is not the target's, models of
// others become one of the target's (ArchSpec::converted_from is there).
ConversionPlan PlanTensors(const TensorArchive& source, const ModelConfig* source_config,
                           const ModelConfig& target);

}  // namespace lfm2
