#include "model/arch/gguf_keys.h"

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/config_reader.h"

namespace lfm2 {

GgufKeys::GgufKeys(const ArchSpec& spec, const GgufFile& file)
    : spec_(spec), prefix_(std::string(spec.gguf) + "."), file_(file) {
  config_["model_type"] = spec.model_type;
}

const Json* GgufKeys::Find(const std::string& key) const {
  const auto it = file_.metadata.find(key);
  return it == file_.metadata.end() ? nullptr : &it->second;
}

const TensorView* GgufKeys::Tensor(const TensorId& id) const {
  return file_.weights.Find(NameOf(spec_.tensors, id));
}

void GgufKeys::CopyKey(const std::string& key, const char* to) {
  if (const Json* value = Find(key)) config_[to] = *value;
}

void GgufKeys::Copy(const std::string& name, const char* to) { CopyKey(Key(name), to); }

void GgufKeys::CopyCommon() {
  Copy("attention.layer_norm_rms_epsilon", spec_.eps_key);
  Copy("vocab_size", "vocab_size");
  Copy("embedding_length", "hidden_size");
  Copy("block_count", "num_hidden_layers");
  Copy("feed_forward_length", "intermediate_size");
  Copy("attention.head_count", "num_attention_heads");
  Copy("attention.key_length", "head_dim");
  Copy("attention.sliding_window", "sliding_window");
  Copy("rope.freq_base", "rope_theta");
  Copy("context_length", "max_position_embeddings");
  CopyKey("tokenizer.ggml.bos_token_id", "bos_token_id");
  CopyKey("tokenizer.ggml.padding_token_id", "pad_token_id");
  PutEnds();
  PutTied();
}

// A chat model has an end-of-turn token and an end-of-text token.
void GgufKeys::PutEnds() {
  CopyKey("tokenizer.ggml.eos_token_id", "eos_token_id");
  const Json* turn = Find("tokenizer.ggml.eot_token_id");
  if (turn == nullptr) return;
  const auto eos = config_.find("eos_token_id");
  if (eos == config_.end()) {
    config_["eos_token_id"] = *turn;
  } else if (*eos != *turn) {
    config_["eos_token_id"] = Json::array({Json(*eos), *turn});
  }
}

void GgufKeys::PutTied() {
  config_["tie_word_embeddings"] = Tensor({Role::kHead}) == nullptr;
  const TensorView* embedding = Tensor({Role::kEmbedding});
  if (!config_.contains("vocab_size") && embedding != nullptr && !embedding->shape.empty()) {
    config_["vocab_size"] = embedding->shape[0];
  }
}

absl::Status GgufKeys::MustBe(const std::string& name, const Json& only, const char* why) const {
  const std::string key = Key(name);
  const Json* value = Find(key);
  if (value == nullptr || *value == only) return absl::OkStatus();
  return Error(Reason::kConfigInvalid,
               key + " is " + ShownValue(*value) + ", must be " + ShownValue(only) + ": " + why,
               {{"key", key}});
}

absl::Status GgufKeys::CheckHeads() const {
  const Json* key_length = Find(Key("attention.key_length"));
  if (key_length != nullptr) {
    LFM2_RETURN_IF_ERROR(MustBe("attention.value_length", *key_length,
                                "keys and values must have the same head size"));
  }
  const Json* width = Find(Key("embedding_length"));
  const Json* heads = Find(Key("attention.head_count"));
  const bool numbers = width != nullptr && width->is_number_unsigned() && heads != nullptr &&
                       heads->is_number_unsigned() && heads->get<uint64_t>() > 0;
  if (!numbers) return absl::OkStatus();  // the parser reports the missing key
  return MustBe(
      "rope.dimension_count",
      key_length != nullptr ? *key_length : Json(width->get<uint64_t>() / heads->get<uint64_t>()),
      "RoPE on only a part of a head is not supported");
}

}  // namespace lfm2
