// Rotary position embedding, rotate-half form (Su et al. 2021; the pairing of GPT-NeoX and Llama).
//
// Frequencies and angles are float32, as in transformers, so that large positions round the same
// way. Pure functions.
#pragma once

#include <ATen/ATen.h>

namespace lfm2 {

// theta^(-2i / head_dim) for i < head_dim / 2: [head_dim / 2] float32 on `device`.
at::Tensor RopeFrequencies(int64_t head_dim, double theta, at::Device device);

struct RopeTable {
  at::Tensor cos, sin;  // [T, 1, head_dim / 2] in the activations' type
};

// positions [T] int64.
RopeTable MakeRopeTable(const at::Tensor& positions, const at::Tensor& frequencies,
                        at::ScalarType dtype);

// x [T, heads, head_dim], rotated by the table's angles.
at::Tensor ApplyRope(const at::Tensor& x, const RopeTable& table);

}  // namespace lfm2
