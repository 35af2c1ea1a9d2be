// Token strings and their ids, both ways. Ids may have holes.
// Thread rule: const after filling.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

class Vocabulary {
 public:
  // {"token": id, …}. kTokenizerInvalid for an id that is not a valid id, is over the limit, or
  // appears twice.
  static absl::StatusOr<Vocabulary> FromJson(const Json& object);

  // kTokenizerInvalid when the token has another id already, or the id another token.
  absl::Status Add(std::string_view token, int32_t id);

  std::optional<int32_t> Find(std::string_view token) const;
  // nullptr for a hole or an id out of range.
  const std::string* TokenOf(int32_t id) const;
  size_t size() const { return ids_.size(); }
  int32_t end() const { return static_cast<int32_t>(tokens_.size()); }  // highest id + 1

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // point into ids_, whose nodes do not move
};

}  // namespace lfm2
