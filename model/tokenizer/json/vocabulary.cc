#include "model/tokenizer/json/vocabulary.h"

#include "absl/strings/str_cat.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {

absl::StatusOr<Vocabulary> Vocabulary::FromJson(const Json& object) {
  if (!object.is_object()) return TokenizerError("model.vocab", "must be an object");
  Vocabulary vocabulary;
  vocabulary.ids_.reserve(object.size());
  for (const auto& [token, id] : object.items()) {
    const bool is_id = id.is_number_unsigned() &&
                       id.get<uint64_t>() < static_cast<uint64_t>(kDefaultLimits.vocab_size);
    if (!is_id) {
      return TokenizerError("model.vocab", absl::StrCat("id of \"", Shortened(token),
                                                        "\" must be a whole number below ",
                                                        kDefaultLimits.vocab_size));
    }
    LFM2_RETURN_IF_ERROR(vocabulary.Add(token, id.get<int32_t>()));
  }
  return vocabulary;
}

absl::Status Vocabulary::Add(std::string_view token, int32_t id) {
  const auto [it, is_new] = ids_.try_emplace(std::string(token), id);
  const auto index = static_cast<size_t>(id);
  if (!is_new && it->second != id) {
    return TokenizerError("model.vocab", absl::StrCat("\"", Shortened(token), "\" has id ",
                                                      it->second, " and id ", id));
  }
  if (index >= tokens_.size()) tokens_.resize(index + 1, nullptr);
  if (tokens_[index] != nullptr && tokens_[index] != &it->first) {
    return TokenizerError("model.vocab",
                          absl::StrCat("id ", id, " is of \"", Shortened(*tokens_[index]),
                                       "\" and of \"", Shortened(token), "\""));
  }
  tokens_[index] = &it->first;
  return absl::OkStatus();
}

std::optional<int32_t> Vocabulary::Find(std::string_view token) const {
  const auto it = ids_.find(token);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

const std::string* Vocabulary::TokenOf(int32_t id) const {
  if (id < 0 || id >= end()) return nullptr;
  return tokens_[static_cast<size_t>(id)];
}

}  // namespace lfm2
