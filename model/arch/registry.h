// All architectures. To add one, add its file, its places in registry.cc, its entry in
// architecture.h, and its name in the help of --arch. Thread rule: const data.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/arch/arch_spec.h"

namespace lfm2 {

// In the order of enum Architecture.
std::span<const ArchSpec* const> AllArchitectures();
// In the order in which they are tried for a file without a config. If one architecture's tensors
// include another one's mark, that other one comes later.
std::span<const ArchSpec* const> ArchitecturesByMark();
const ArchSpec& SpecOf(Architecture architecture);
const ArchSpec& SpecOf(const ModelConfig& config);

// The tensor that a state-dict name means in any architecture; nullopt if the name is unknown in
// all.
std::optional<TensorId> IdOfAny(std::string_view name);

// The architecture of a fresh model or a partial load that does not name one.
Architecture DefaultArchitecture();

// Lists the `field` of all architectures that have it: "\"lfm2\", \"lfm2_ssm_hybrid\" or
// \"llama\"".
std::string QuotedList(const char* ArchSpec::*field, const char* last_word);
// Their names: "lfm2, hybrid or llama".
std::string ArchitectureNames();

}  // namespace lfm2
