// Translates a GGUF's metadata to config.json's keys, so that one parser checks both formats. Each
// architecture's reader (arch_spec.h, read_gguf) uses this class. Thread rule: one thread. Source:
// llama.cpp's gguf-py constants.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/json.h"
#include "model/arch/arch_spec.h"
#include "model/formats/gguf.h"

namespace lfm2 {

class GgufKeys {
 public:
  // The tensors of `file` must already have our names. Borrows both arguments.
  GgufKeys(const ArchSpec& spec, const GgufFile& file);

  // The full name of an architecture's key: "llama." + name.
  std::string Key(const std::string& name) const { return prefix_ + name; }
  const Json* Find(const std::string& key) const;  // full name; null if absent
  const TensorView* Tensor(const TensorId& id) const;

  // Copies an architecture's key, if present, to a key of config.json.
  void Copy(const std::string& name, const char* to);
  // Copies sizes, heads, RoPE, context length, token ids, and whether the head is tied.
  void CopyCommon();

  // kConfigInvalid if the architecture's key is present with another value.
  absl::Status MustBe(const std::string& name, const Json& only, const char* why) const;
  // Checks that keys and values have the same head size and that RoPE rotates the whole head.
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
