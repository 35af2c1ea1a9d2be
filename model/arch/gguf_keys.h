// A GGUF's metadata turned into the keys of config.json, so that one parser checks both. The
// architectures' own readers (arch_spec.h, read_gguf) are made of this. Thread rule: one thread.
// Source: llama.cpp's gguf-py constants.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/json.h"
#include "model/arch/arch_spec.h"
#include "model/formats/gguf.h"

namespace lfm2 {

class GgufKeys {
 public:
  // `file` has our tensor names already. Borrows both.
  GgufKeys(const ArchSpec& spec, const GgufFile& file);

  // A key of the architecture: "llama." + name.
  std::string Key(const std::string& name) const { return prefix_ + name; }
  const Json* Find(const std::string& key) const;  // null when absent; the whole key
  const TensorView* Tensor(const TensorId& id) const;

  // A key of the architecture into a key of config.json, when it is there.
  void Copy(const std::string& name, const char* to);
  // Sizes, heads, RoPE, context, token ids and whether the head is tied.
  void CopyCommon();

  // kConfigInvalid when the key of the architecture is there and says something else.
  absl::Status MustBe(const std::string& name, const Json& only, const char* why) const;
  // Keys and values of one size, all of which RoPE turns.
  absl::Status CheckHeads() const;

  Json& config() { return config_; }

 private:
  void CopyKey(const std::string& key, const char* to);
  void PutEnds();
  void PutTied();

  const ArchSpec& spec_;
  const std::string prefix_;
  const GgufFile& file_;
  Json config_;
};

}  // namespace lfm2
