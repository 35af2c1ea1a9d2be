#include "model/train/optimizer.h"

#include "model/train/adamw.h"

namespace lfm2 {

std::unique_ptr<Optimizer> MakeOptimizer(const NamedTensors& parameters, const TrainSpec& spec) {
  return std::make_unique<AdamW>(parameters, spec);
}

}  // namespace lfm2
