// ModelFromGguf: llama.cpp's names and metadata of `lfm2` and `llama` to Hugging Face's.
#include "model/arch/gguf_model.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"
#include "model/formats/gguf.h"

namespace lfm2 {
namespace {

struct NamePair {
  const char* gguf;
  const char* ours;
};

// Names that older converters wrote stand behind the present ones. lfm2's token_embd_norm really is
// the final norm.
constexpr NamePair kLfm2WholeNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"tok_embeddings", "model.embed_tokens"},
    {"token_embd_norm", "model.embedding_norm"},
    {"output_norm", "model.embedding_norm"},
    {"output", "lm_head"},
};

constexpr NamePair kLfm2LayerNames[] = {
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

constexpr NamePair kLlamaWholeNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr NamePair kLlamaLayerNames[] = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

struct GgufArchitecture {
  const char* name;  // general.architecture, the prefix of its keys, and config.json's model_type
  const char* norm_eps;
  std::span<const NamePair> whole_names, layer_names;
};

constexpr GgufArchitecture kArchitectures[] = {
    {"lfm2", "norm_eps", kLfm2WholeNames, kLfm2LayerNames},
    {"llama", "rms_norm_eps", kLlamaWholeNames, kLlamaLayerNames},
};

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kBlock = "blk.";

std::string Shown(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 64);
}

absl::StatusOr<const GgufArchitecture*> ArchitectureOf(std::string_view file,
                                                       const GgufFile& gguf) {
  const auto it = gguf.metadata.find("general.architecture");
  std::string known;
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (it != gguf.metadata.end() && it->second == architecture.name) return &architecture;
    known += (known.empty() ? "" : " or ") + std::string("\"") + architecture.name + "\"";
  }
  return Error(Reason::kUnsupported,
               std::string(file) + ": general.architecture is " +
                   (it == gguf.metadata.end() ? "missing" : Shown(it->second)) + ", must be " +
                   known,
               {{"file", std::string(file)}});
}

const char* Find(std::span<const NamePair> names, std::string_view gguf) {
  for (const NamePair& pair : names) {
    if (gguf == pair.gguf) return pair.ours;
  }
  return nullptr;
}

// Empty when the name is none of the architecture's.
std::string OurName(const GgufArchitecture& architecture, std::string_view name) {
  if (name.size() <= kWeight.size() || !name.ends_with(kWeight)) return "";
  const std::string_view stem = name.substr(0, name.size() - kWeight.size());
  if (const char* ours = Find(architecture.whole_names, stem)) return std::string(ours) + ".weight";
  if (!stem.starts_with(kBlock)) return "";
  const size_t dot = stem.find('.', kBlock.size());
  if (dot == std::string_view::npos) return "";
  const std::string_view layer = stem.substr(kBlock.size(), dot - kBlock.size());
  // "007" and "+7" would be second names of one layer.
  const bool number = !layer.empty() && layer.size() <= 4 &&
                      layer.find_first_not_of("0123456789") == std::string_view::npos &&
                      (layer.size() == 1 || layer[0] != '0');
  const char* ours = number ? Find(architecture.layer_names, stem.substr(dot + 1)) : nullptr;
  if (ours == nullptr) return "";
  return "model.layers." + std::string(layer) + "." + ours + ".weight";
}

absl::Status Rename(std::string_view file, const GgufArchitecture& architecture,
                    TensorArchive& weights) {
  std::set<std::string> names;
  for (TensorView& tensor : weights.tensors) {
    const std::string ours = OurName(architecture, tensor.name);
    if (ours.empty()) {
      return FileInvalid(
          file, 0, "tensor \"" + tensor.name + "\" is not one of " + architecture.name + "'s");
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
  ConfigBuilder(const GgufArchitecture& architecture, const GgufFile& file)
      : prefix_(std::string(architecture.name) + "."), file_(file) {
    config_["model_type"] = architecture.name;
    Copy(prefix_ + "attention.layer_norm_rms_epsilon", architecture.norm_eps);
  }

  absl::StatusOr<std::string> Lfm2() {
    CopyCommon();
    Copy("lfm2.shortconv.l_cache", "conv_L_cache");
    PutWidth();
    LFM2_RETURN_IF_ERROR(PutLayers());
    return Text();
  }

  absl::StatusOr<std::string> Llama() {
    CopyCommon();
    Copy("llama.attention.head_count_kv", "num_key_value_heads");
    LFM2_RETURN_IF_ERROR(CheckLlama());
    return Text();
  }

 private:
  const Json* Find(const std::string& key) const {
    const auto it = file_.metadata.find(key);
    return it == file_.metadata.end() ? nullptr : &it->second;
  }

  void Copy(const std::string& from, const char* to) {
    if (const Json* value = Find(from)) config_[to] = *value;
  }

  void CopyCommon() {
    Copy(prefix_ + "vocab_size", "vocab_size");
    Copy(prefix_ + "embedding_length", "hidden_size");
    Copy(prefix_ + "block_count", "num_hidden_layers");
    Copy(prefix_ + "feed_forward_length", "intermediate_size");
    Copy(prefix_ + "attention.head_count", "num_attention_heads");
    Copy(prefix_ + "attention.key_length", "head_dim");
    Copy(prefix_ + "attention.sliding_window", "sliding_window");
    Copy(prefix_ + "rope.freq_base", "rope_theta");
    Copy(prefix_ + "context_length", "max_position_embeddings");
    Copy("tokenizer.ggml.bos_token_id", "bos_token_id");
    Copy("tokenizer.ggml.padding_token_id", "pad_token_id");
    PutEnds();
    PutTied();
  }

  // A chat model's end of turn stands beside its end of text.
  void PutEnds() {
    Copy("tokenizer.ggml.eos_token_id", "eos_token_id");
    const Json* turn = Find("tokenizer.ggml.eot_token_id");
    if (turn == nullptr) return;
    const auto eos = config_.find("eos_token_id");
    if (eos == config_.end()) {
      config_["eos_token_id"] = *turn;
    } else if (*eos != *turn) {
      config_["eos_token_id"] = Json::array({Json(*eos), *turn});
    }
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
    const Json* list = Find("lfm2.attention.head_count_kv");
    if (list == nullptr || !list->is_array() ||
        static_cast<int64_t>(list->size()) > kDefaultLimits.layers) {
      return Error(Reason::kConfigInvalid,
                   "lfm2.attention.head_count_kv is not a list with one entry a layer");
    }
    Json types = Json::array();
    Json heads;
    for (const Json& entry : *list) {
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

  absl::Status MustBe(const std::string& key, const Json& only, const char* why) {
    const Json* value = Find(key);
    if (value == nullptr || *value == only) return absl::OkStatus();
    return Error(Reason::kConfigInvalid,
                 key + " is " + Shown(*value) + ", must be " + Shown(only) + ": " + why,
                 {{"key", key}});
  }

  // What llama.cpp's llama can be and this program's cannot.
  absl::Status CheckLlama() {
    LFM2_RETURN_IF_ERROR(MustBe("llama.rope.scaling.type", "none", "scaled RoPE is not supported"));
    LFM2_RETURN_IF_ERROR(MustBe("llama.expert_count", 0, "a mixture of experts is not supported"));
    if (const Json* key_length = Find("llama.attention.key_length")) {
      LFM2_RETURN_IF_ERROR(MustBe("llama.attention.value_length", *key_length,
                                  "keys and values have heads of one size"));
    }
    const Json* width = Find("llama.embedding_length");
    const Json* heads = Find("llama.attention.head_count");
    const bool numbers = width != nullptr && width->is_number_unsigned() && heads != nullptr &&
                         heads->is_number_unsigned() && heads->get<uint64_t>() > 0;
    if (!numbers) return absl::OkStatus();  // the parser says which is missing
    const Json* head_dim = Find("llama.attention.key_length");
    return MustBe(
        "llama.rope.dimension_count",
        head_dim != nullptr ? *head_dim : Json(width->get<uint64_t>() / heads->get<uint64_t>()),
        "a part of a head that is not turned is not supported");
  }

  std::string Text() const { return config_.dump(-1, ' ', false, Json::error_handler_t::replace); }

  const std::string prefix_;
  const GgufFile& file_;
  Json config_;
};

// llama.cpp's llama turns neighbouring rows of a head together where transformers turns row j with
// row j + head_dim / 2. The rows of q and k stand in the file accordingly: 2 j + half of a head is
// ours at half * head_dim / 2 + j. A row of a block type is whole blocks, so rows move as they are.
absl::Status UndoRowOrder(int64_t heads, int64_t head_dim, TensorView& tensor,
                          TensorArchive& weights) {
  const bool fits = tensor.shape.size() == 2 && tensor.shape[0] == heads * head_dim;
  if (!fits) return absl::OkStatus();  // CheckWeights has the words for it
  LFM2_ASSIGN_OR_RETURN(const int64_t row, BytesOf(tensor.dtype, {tensor.shape[1]}));
  auto rows = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(tensor.bytes));
  const int64_t half_dim = head_dim / 2;
  for (int64_t to = 0; to < tensor.shape[0]; ++to) {
    const int64_t in_head = to % head_dim;
    const int64_t from = to - in_head + 2 * (in_head % half_dim) + in_head / half_dim;
    std::memcpy(rows->data() + to * row, tensor.data + from * row, static_cast<size_t>(row));
  }
  tensor.data = rows->data();
  weights.owners.push_back(std::move(rows));
  return absl::OkStatus();
}

absl::Status UndoRowOrders(const ModelConfig& config, TensorArchive& weights) {
  for (TensorView& tensor : weights.tensors) {
    const std::string_view name = tensor.name;
    const bool query = name.ends_with(".self_attn.q_proj.weight");
    if (!query && !name.ends_with(".self_attn.k_proj.weight")) continue;
    LFM2_RETURN_IF_ERROR(
        UndoRowOrder(query ? config.num_attention_heads : config.num_key_value_heads,
                     config.head_dim, tensor, weights));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelFromGguf(std::string_view file_name, GgufFile& file) {
  LFM2_ASSIGN_OR_RETURN(const GgufArchitecture* architecture, ArchitectureOf(file_name, file));
  LFM2_RETURN_IF_ERROR(Rename(file_name, *architecture, file.weights));
  ConfigBuilder builder(*architecture, file);
  const bool llama = std::string_view(architecture->name) == "llama";
  absl::StatusOr<std::string> json = llama ? builder.Llama() : builder.Lfm2();
  if (!json.ok()) return Annotate(json.status(), std::string(file_name) + ", metadata");
  absl::StatusOr<ModelConfig> config = ParseModelConfig(*json);
  if (!config.ok()) return Annotate(config.status(), std::string(file_name) + ", metadata");
  if (llama) LFM2_RETURN_IF_ERROR(UndoRowOrders(*config, file.weights));
  return config;
}

}  // namespace lfm2
