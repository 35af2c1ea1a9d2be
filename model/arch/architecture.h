// The list of architectures. Each one is a file in this folder; registry.h gives access to their
// descriptions. Thread rule: pure.
#pragma once

#include <optional>
#include <string_view>

namespace lfm2 {

// Job records store the number, so add new ones at the end.
enum class Architecture { kLfm2, kHybrid, kLlama };

const char* NameOf(Architecture architecture);  // "lfm2", "hybrid", "llama"
std::optional<Architecture> ArchitectureByName(std::string_view name);

}  // namespace lfm2
