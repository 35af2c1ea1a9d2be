// Which tensor of the new model comes from which of the source: the rules of model.md section 6 as
// data. Thread rule: pure. No LibTorch. Pointers into the archive that was given.
#pragma once

#include <vector>

#include "model/convert/conversion.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct TensorPlan {
  TensorSpec target;
  const TensorView* source = nullptr;  // null: fresh
  int64_t averaged_heads = 0;          // more than 0: groups of this many kv heads are averaged
  TensorReport report;
};

struct ConversionPlan {
  std::vector<TensorPlan> tensors;      // every tensor of the target, in the config's order
  std::vector<TensorReport> left_over;  // of the source, kUnexpected, in its order

  // Every tensor of the source is one of the new model, under its own name, as it is.
  bool IsWholeSource() const;
};

// `source_config` is null for a partial load. Where its architecture is not the target's, models of
// others become one of the target's (ArchSpec::converted_from is there).
ConversionPlan PlanTensors(const TensorArchive& source, const ModelConfig* source_config,
                           const ModelConfig& target);

}  // namespace lfm2
