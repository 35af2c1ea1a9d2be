// Reads config.json's keys into a ModelConfig; each architecture's reader is built from these
// functions. They record all violations, which ParseModelConfig reports together. Thread rule: one
// thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/json.h"
#include "model/arch/config.h"

namespace lfm2 {

// Large enough for every model of this kind; small enough that products of sizes fit in 63 bits.
inline constexpr int64_t kMaxHidden = int64_t{1} << 17;
inline constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxHeadDim = 8192;
inline constexpr int64_t kMaxConvKernel = 64;
inline constexpr int64_t kMaxSsmState = 4096;
inline constexpr int64_t kMaxPositions = int64_t{1} << 30;

// Reads keys of one object. The first name is the current one, the others are legacy. A null value
// counts as absent. Ownership: borrows both arguments.
class ConfigReader {
 public:
  using Names = std::initializer_list<const char*>;
  struct Range {
    int64_t min;
    int64_t max;
  };

  ConfigReader(const Json& object, Violations& violations)
      : object_(object), violations_(violations) {}

  const Json* Find(Names names);
  std::optional<int64_t> OptionalInt(Names names, Range range);
  // Returns 1 if the key is absent or invalid; the value is never used, because a violation is
  // recorded.
  int64_t RequiredInt(Names names, Range range);
  bool Bool(Names names, bool fallback);
  double PositiveNumber(Names names, double fallback);
  double Positive(const char* name, const Json& value, double fallback);
  // The key, if present, must have the only value that this program supports.
  void MustBe(const char* name, const Json& only);
  void Wrong(Names names, const Json& value, const std::string& rule);

  const Json& object() const { return object_; }
  Violations& violations() { return violations_; }

 private:
  const Json& object_;
  Violations& violations_;
};

// A value as shown in messages: its JSON, shortened.
std::string ShownValue(const Json& value);

// Reads vocab_size, hidden_size, heads and token ids; checks the keys that must be absent or have a
// fixed value.
void ReadCommon(ConfigReader& keys, ModelConfig& config);
int64_t ReadLayerCount(ConfigReader& keys);
double ReadRopeTheta(ConfigReader& keys, double fallback);
int64_t ReadPositions(ConfigReader& keys, int64_t fallback);
// Reads layer_types: true for each layer with attention. nullopt if the key is absent.
std::optional<std::vector<bool>> ReadLayerTypes(ConfigReader& keys, int64_t layers,
                                                const char* attends, const char* other);

// Writes the keys for RoPE's base, as transformers 5 expects them.
void PutRopeParameters(const ModelConfig& config, Json& out);

}  // namespace lfm2
