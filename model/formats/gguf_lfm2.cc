// Lfm2FromGguf: llama.cpp's names and metadata of `lfm2` to Hugging Face's.
#include <algorithm>
#include <set>

#include "model/core/errors.h"
#include "model/core/limits.h"
#include "model/core/status_macros.h"
#include "model/formats/format_error.h"
#include "model/formats/gguf.h"

namespace lfm2 {
namespace {

struct NamePair {
  const char* gguf;
  const char* ours;
};

// Names that older converters wrote stand behind the present ones. token_embd_norm really is the
// final norm.
constexpr NamePair kWholeNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"tok_embeddings", "model.embed_tokens"},
    {"token_embd_norm", "model.embedding_norm"},
    {"output_norm", "model.embedding_norm"},
    {"output", "lm_head"},
};

constexpr NamePair kLayerNames[] = {
    {"attn_norm", "operator_norm"},
    {"attention_norm", "operator_norm"},
    {"ffn_norm", "ffn_norm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.out_proj"},
    {"attn_o", "self_attn.out_proj"},
    {"attn_q_norm", "self_attn.q_layernorm"},
    {"attn_k_norm", "self_attn.k_layernorm"},
    {"shortconv.in_proj", "conv.in_proj"},
    {"shortconv.conv", "conv.conv"},
    {"shortconv.out_proj", "conv.out_proj"},
    {"ffn_gate", "feed_forward.w1"},
    {"ffn_up", "feed_forward.w3"},
    {"ffn_down", "feed_forward.w2"},
};

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kBlock = "blk.";

// Empty when the name is none of lfm2's.
std::string OurName(const std::string& name) {
  if (name.size() <= kWeight.size() || name.substr(name.size() - kWeight.size()) != kWeight)
    return "";
  const std::string stem = name.substr(0, name.size() - kWeight.size());
  for (const NamePair& pair : kWholeNames) {
    if (stem == pair.gguf) return std::string(pair.ours) + ".weight";
  }
  if (stem.rfind(kBlock, 0) != 0) return "";
  const size_t dot = stem.find('.', kBlock.size());
  if (dot == std::string::npos) return "";
  const std::string layer = stem.substr(kBlock.size(), dot - kBlock.size());
  // "007" and "+7" would be second names of one layer.
  const bool number = !layer.empty() && layer.size() <= 4 &&
                      layer.find_first_not_of("0123456789") == std::string::npos &&
                      (layer.size() == 1 || layer[0] != '0');
  if (!number) return "";
  for (const NamePair& pair : kLayerNames) {
    if (stem.substr(dot + 1) == pair.gguf) {
      return "model.layers." + layer + "." + pair.ours + ".weight";
    }
  }
  return "";
}

absl::Status Rename(std::string_view file, TensorArchive& weights) {
  std::set<std::string> names;
  for (TensorView& tensor : weights.tensors) {
    const std::string ours = OurName(tensor.name);
    if (ours.empty()) {
      return FileInvalid(file, 0, "tensor \"" + tensor.name + "\" is not one of lfm2's");
    }
    if (!names.insert(ours).second) {
      return FileInvalid(file, 0, "tensor \"" + tensor.name + "\" is a second " + ours);
    }
    const bool conv = ours.find(".conv.conv.") != std::string::npos;
    if (conv && tensor.shape.size() == 2) tensor.shape.insert(tensor.shape.begin() + 1, 1);
    tensor.name = ours;
  }
  return absl::OkStatus();
}

// Builds config.json's text of the metadata, so that one parser checks both.
class ConfigBuilder {
 public:
  explicit ConfigBuilder(const GgufFile& file) : file_(file) { config_["model_type"] = "lfm2"; }

  absl::StatusOr<std::string> Run() {
    Copy("lfm2.vocab_size", "vocab_size");
    Copy("lfm2.embedding_length", "hidden_size");
    Copy("lfm2.block_count", "num_hidden_layers");
    Copy("lfm2.feed_forward_length", "intermediate_size");
    Copy("lfm2.attention.head_count", "num_attention_heads");
    Copy("lfm2.attention.key_length", "head_dim");
    Copy("lfm2.attention.layer_norm_rms_epsilon", "norm_eps");
    Copy("lfm2.attention.sliding_window", "sliding_window");
    Copy("lfm2.rope.freq_base", "rope_theta");
    Copy("lfm2.shortconv.l_cache", "conv_L_cache");
    Copy("lfm2.context_length", "max_position_embeddings");
    Copy("tokenizer.ggml.bos_token_id", "bos_token_id");
    Copy("tokenizer.ggml.eos_token_id", "eos_token_id");
    Copy("tokenizer.ggml.padding_token_id", "pad_token_id");
    PutTied();
    PutWidth();
    LFM2_RETURN_IF_ERROR(PutLayers());
    return config_.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

 private:
  void Copy(const char* from, const char* to) {
    const auto it = file_.metadata.find(from);
    if (it != file_.metadata.end()) config_[to] = it->second;
  }

  void PutTied() {
    config_["tie_word_embeddings"] = file_.weights.Find("lm_head.weight") == nullptr;
    const TensorView* embedding = file_.weights.Find("model.embed_tokens.weight");
    if (!config_.contains("vocab_size") && embedding != nullptr && !embedding->shape.empty()) {
      config_["vocab_size"] = embedding->shape[0];
    }
  }

  // Files exist whose feed_forward_length is the width before the adjustment; then the formula must
  // give the weights'.
  void PutWidth() {
    const TensorView* w1 = file_.weights.Find("model.layers.0.feed_forward.w1.weight");
    const bool differs = w1 != nullptr && !w1->shape.empty() &&
                         config_.contains("intermediate_size") &&
                         config_["intermediate_size"] != w1->shape[0];
    config_["block_auto_adjust_ff_dim"] = differs;
  }

  // head_count_kv has one entry a layer; 0 marks a conv layer.
  absl::Status PutLayers() {
    const auto it = file_.metadata.find("lfm2.attention.head_count_kv");
    const bool list = it != file_.metadata.end() && it->second.is_array() &&
                      static_cast<int64_t>(it->second.size()) <= kDefaultLimits.layers;
    if (!list) {
      return Error(Reason::kConfigInvalid,
                   "lfm2.attention.head_count_kv is not a list with one entry a layer");
    }
    Json types = Json::array();
    Json heads;
    for (const Json& entry : it->second) {
      if (entry == 0) {
        types.push_back("conv");
        continue;
      }
      if (!heads.is_null() && heads != entry) {
        return Error(Reason::kConfigInvalid,
                     "lfm2.attention.head_count_kv differs between attention layers");
      }
      heads = entry;
      types.push_back("full_attention");
    }
    config_["layer_types"] = std::move(types);
    if (!heads.is_null()) config_["num_key_value_heads"] = heads;
    return absl::OkStatus();
  }

  const GgufFile& file_;
  Json config_;
};

}  // namespace

absl::StatusOr<ModelConfig> Lfm2FromGguf(std::string_view file_name, GgufFile& file) {
  const auto architecture = file.metadata.find("general.architecture");
  if (architecture == file.metadata.end() || architecture->second != "lfm2") {
    const std::string shown =
        architecture == file.metadata.end()
            ? "missing"
            : architecture->second.dump(-1, ' ', false, Json::error_handler_t::replace);
    return Error(Reason::kUnsupported,
                 std::string(file_name) + ": general.architecture is " + shown.substr(0, 64) +
                     ", must be \"lfm2\"",
                 {{"file", std::string(file_name)}});
  }
  LFM2_RETURN_IF_ERROR(Rename(file_name, file.weights));
  LFM2_ASSIGN_OR_RETURN(const std::string json, ConfigBuilder(file).Run());
  absl::StatusOr<ModelConfig> config = ParseModelConfig(json);
  if (!config.ok()) return Annotate(config.status(), std::string(file_name) + ", metadata");
  return config;
}

}  // namespace lfm2
