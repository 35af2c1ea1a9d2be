// Tensor roles, and the names of tensors in each file format.
//
// A tensor is looked up by role and layer. Its names are in its architecture's table, one row per
// role. Our names are Hugging Face's state-dict names. Thread rule: pure. No LibTorch. Sources:
// transformers' modelling files; llama.cpp's gguf-py constants.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lfm2 {

enum class Role {
  // Tensors outside the layers.
  kEmbedding,
  kFinalNorm,
  kHead,
  // The norms before a layer's blocks. The mixer is the attention or the short convolution.
  kMixerNorm,
  kSsmNorm,
  kFeedForwardNorm,
  // Attention.
  kQuery,
  kKey,
  kValue,
  kAttentionOut,
  kQueryNorm,
  kKeyNorm,
  // Short convolution.
  kConvIn,
  kConv,
  kConvOut,
  // Diagonal SSM. From kSsmALog to kSsmLogDt: parameters, not weights of a module.
  kSsmIn,
  kSsmALog,
  kSsmB,
  kSsmC,
  kSsmD,
  kSsmLogDt,
  kSsmOut,
  // Gated feed-forward.
  kGate,
  kUp,
  kDown,
};

// Names without layer and suffix: "self_attn.q_proj" means
// "model.layers.<i>.self_attn.q_proj.weight", "attn_q" means "blk.<i>.attn_q.weight".
struct TensorName {
  Role role;
  std::string_view ours;
  std::string_view gguf;
  std::string_view old_gguf = {};  // name from older converters; empty: the same as gguf
};
using TensorNames = std::span<const TensorName>;

struct TensorId {
  Role role;
  int64_t layer = -1;  // -1: outside the layers
  bool bias = false;
  friend bool operator==(const TensorId&, const TensorId&) = default;
};

bool IsNorm(Role role);
bool IsSsmParameter(Role role);  // from kSsmALog to kSsmLogDt
bool IsOfAttention(Role role);
bool IsOfShortConv(Role role);

std::string LayerName(int64_t layer);  // "model.layers.3"

// The name without its suffix, which is also the module's name: "model.layers.3.conv.in_proj".
// Empty if the table does not have the role.
std::string StemOf(TensorNames names, Role role, int64_t layer = -1);
// The name with its suffix: ".weight", ".bias", or nothing for an SSM's parameters.
std::string NameOf(TensorNames names, const TensorId& id);
std::string GgufNameOf(TensorNames names, const TensorId& id);

// llama.cpp's name for one of our tensors; empty if the table does not have the tensor.
std::string LlamaCppName(TensorNames names, std::string_view name);

// nullopt for a name that the table does not have. For GGUF, old names are accepted too.
std::optional<TensorId> IdOf(TensorNames names, std::string_view name);
// The layer in a state-dict name, for any tensor; nullopt for a tensor outside the layers.
std::optional<int64_t> LayerOf(std::string_view name);
std::optional<TensorId> IdOfGguf(TensorNames names, std::string_view name);

}  // namespace lfm2
