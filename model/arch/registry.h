// All architectures. To add one: its file, its places in registry.cc, its entry in architecture.h
// and in the help of --arch.
// Thread rule: const data.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/arch/arch_spec.h"

namespace lfm2 {

// In the order of their numbers.
std::span<const ArchSpec* const> AllArchitectures();
// In the order in which a file without a config is tried: an architecture whose mark the tensors of
// another one have too stands after it.
std::span<const ArchSpec* const> ArchitecturesByMark();
const ArchSpec& SpecOf(Architecture architecture);
const ArchSpec& SpecOf(const ModelConfig& config);

// What a state-dict name is in whichever architecture has it; nullopt where none has.
std::optional<TensorId> IdOfAny(std::string_view name);

// Of a fresh model, and of a partial load, that names none.
Architecture DefaultArchitecture();

// `field` of all that have one: "\"lfm2\", \"lfm2_ssm_hybrid\" or \"llama\"".
std::string QuotedList(const char* ArchSpec::*field, const char* last_word);
// Their names: "lfm2, hybrid or llama".
std::string ArchitectureNames();

}  // namespace lfm2
