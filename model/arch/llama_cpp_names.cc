#include "model/arch/llama_cpp_names.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace lfm2 {
namespace {

// Which architectures have a part under this name: bits.
enum Owners : unsigned {
  kLfm2 = 1U << static_cast<int>(Architecture::kLfm2),
  kHybrid = 1U << static_cast<int>(Architecture::kHybrid),
  kLlama = 1U << static_cast<int>(Architecture::kLlama),
  kAll = kLfm2 | kHybrid | kLlama,
};

struct NamePair {
  unsigned owners;
  std::string_view ours;
  std::string_view theirs;
};

// Outside the layers; ".weight" stays.
constexpr NamePair kModelNames[] = {
    {kAll, "model.embed_tokens", "token_embd"},
    {kLfm2, "model.embedding_norm", "token_embd_norm"},  // the final norm, by llama.cpp's name
    {kHybrid | kLlama, "model.norm", "output_norm"},
    {kAll, "lm_head", "output"},
};

// Inside "model.layers.N." and "blk.N."; ".weight" and ".bias" stay.
constexpr NamePair kLayerNames[] = {
    {kLfm2, "operator_norm", "attn_norm"},
    {kHybrid, "attention_norm", "attn_norm"},
    {kLlama, "input_layernorm", "attn_norm"},
    {kHybrid, "ssm_norm", "ssm_norm"},
    {kLfm2 | kHybrid, "ffn_norm", "ffn_norm"},
    {kLlama, "post_attention_layernorm", "ffn_norm"},
    {kAll, "self_attn.q_proj", "attn_q"},
    {kAll, "self_attn.k_proj", "attn_k"},
    {kAll, "self_attn.v_proj", "attn_v"},
    {kLfm2, "self_attn.out_proj", "attn_output"},
    {kHybrid | kLlama, "self_attn.o_proj", "attn_output"},
    {kLfm2, "self_attn.q_layernorm", "attn_q_norm"},
    {kLfm2, "self_attn.k_layernorm", "attn_k_norm"},
    {kLfm2, "conv.in_proj", "shortconv.in_proj"},
    {kLfm2, "conv.conv", "shortconv.conv"},
    {kLfm2, "conv.out_proj", "shortconv.out_proj"},
    {kLfm2, "feed_forward.w1", "ffn_gate"},
    {kLfm2, "feed_forward.w3", "ffn_up"},
    {kLfm2, "feed_forward.w2", "ffn_down"},
    {kHybrid | kLlama, "mlp.gate_proj", "ffn_gate"},
    {kHybrid | kLlama, "mlp.up_proj", "ffn_up"},
    {kHybrid | kLlama, "mlp.down_proj", "ffn_down"},
    {kHybrid, "ssm.in_proj", "ssm_in"},
    {kHybrid, "ssm.A_log", "ssm_a_log"},
    {kHybrid, "ssm.B", "ssm_b"},
    {kHybrid, "ssm.C", "ssm_c"},
    {kHybrid, "ssm.D", "ssm_d"},
    {kHybrid, "ssm.log_dt", "ssm_log_dt"},
    {kHybrid, "ssm.out_proj", "ssm_out"},
};

constexpr std::string_view kOurLayers = "model.layers.", kTheirLayers = "blk.";

struct Side {
  std::string_view NamePair::*from;
  std::string_view NamePair::*to;
  std::string_view layers_from, layers_to;
};
constexpr Side kToTheirs = {&NamePair::ours, &NamePair::theirs, kOurLayers, kTheirLayers};
constexpr Side kToOurs = {&NamePair::theirs, &NamePair::ours, kTheirLayers, kOurLayers};

template <size_t N>
std::optional<std::string> Lookup(const NamePair (&table)[N], Architecture architecture,
                                  const Side& side, std::string_view stem) {
  const unsigned owner = 1U << static_cast<int>(architecture);
  for (const NamePair& pair : table) {
    if ((pair.owners & owner) != 0 && pair.*side.from == stem) {
      return std::string(pair.*side.to);
    }
  }
  return std::nullopt;
}

std::string_view LeafOf(std::string_view name) {
  for (std::string_view leaf : {".weight", ".bias"}) {
    if (name.ends_with(leaf)) return name.substr(name.size() - leaf.size());
  }
  return {};
}

std::optional<std::string> Translate(const ModelConfig& config, const Side& side,
                                     std::string_view name) {
  const std::string leaf(LeafOf(name));
  std::string_view stem = name.substr(0, name.size() - leaf.size());
  if (!stem.starts_with(side.layers_from)) {
    const auto found = Lookup(kModelNames, config.architecture, side, stem);
    if (!found) return std::nullopt;
    return *found + leaf;
  }
  stem.remove_prefix(side.layers_from.size());
  const size_t dot = stem.find('.');
  if (dot == 0 || dot == std::string_view::npos) return std::nullopt;
  const std::string number(stem.substr(0, dot));
  const bool digits =
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  const auto found = Lookup(kLayerNames, config.architecture, side, stem.substr(dot + 1));
  if (!digits || !found) return std::nullopt;
  return std::string(side.layers_to) + number + "." + *found + leaf;
}

}  // namespace

std::string LlamaCppName(const ModelConfig& config, const std::string& name) {
  return Translate(config, kToTheirs, name).value_or("");
}

std::optional<std::string> NameFromLlamaCpp(const ModelConfig& config, const std::string& name) {
  return Translate(config, kToOurs, name);
}

}  // namespace lfm2
