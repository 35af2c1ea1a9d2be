// The structure of a layer: a list of stages. A stage is a norm and the blocks that share it: x +=
// sum(block(norm(x))). Decoders, weights, plans and parity iterate over this list and do not depend
// on the architecture. Thread rule: plain data.
#pragma once

#include <string>
#include <vector>

#include "model/arch/tensor_names.h"

namespace lfm2 {

enum class BlockKind { kAttention, kShortConv, kDiagonalSsm, kGatedMlp };

struct Branch {
  BlockKind kind;
  std::string prefix;  // in names of its probes and tensors: "self_attn", "conv", "ssm", "mlp"
};

struct Stage {
  Role norm;
  std::vector<Branch> branches;
};

using Layer = std::vector<Stage>;

}  // namespace lfm2
