// What a tensor is in its model, and its name in each kind of file.
//
// A tensor is asked for by role and layer; what it is called is in the table of its architecture,
// one row a role. Ours are Hugging Face's state-dict names. Thread rule: pure. No LibTorch.
// Sources: transformers' modelling files; llama.cpp's gguf-py constants.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lfm2 {

enum class Role {
  // Of the model.
  kEmbedding,
  kFinalNorm,
  kHead,
  // Of a layer: the norms before its blocks. The mixer is the attention, or the short convolution
  // in its place.
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

// Names without layer and ending: "self_attn.q_proj" stands for
// "model.layers.<i>.self_attn.q_proj.weight", "attn_q" for "blk.<i>.attn_q.weight".
struct TensorName {
  Role role;
  std::string_view ours;
  std::string_view gguf;
  std::string_view old_gguf = {};  // what older converters wrote; empty: the same
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

// The name without its ending, which is also its module's: "model.layers.3.conv.in_proj". Empty
// when the table does not have the role.
std::string StemOf(TensorNames names, Role role, int64_t layer = -1);
// With its ending: ".weight", ".bias", or none for an SSM's parameters.
std::string NameOf(TensorNames names, const TensorId& id);
std::string GgufNameOf(TensorNames names, const TensorId& id);

// llama.cpp's name of a tensor of ours; empty for a name that the table does not have.
std::string LlamaCppName(TensorNames names, std::string_view name);

// nullopt for a name that the table does not have. In GGUF, old names are known too.
std::optional<TensorId> IdOf(TensorNames names, std::string_view name);
// The layer that a state-dict name is of, whatever the tensor; nullopt outside the layers.
std::optional<int64_t> LayerOf(std::string_view name);
std::optional<TensorId> IdOfGguf(TensorNames names, std::string_view name);

}  // namespace lfm2
