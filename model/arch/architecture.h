// Which architectures there are. Each one is a file of this folder; registry.h says what they are.
// Thread rule: pure.
#pragma once

#include <optional>
#include <string_view>

namespace lfm2 {

// Stored in job records by number: new ones go to the end.
enum class Architecture { kLfm2, kHybrid, kLlama };

const char* NameOf(Architecture architecture);  // "lfm2", "hybrid", "llama"
std::optional<Architecture> ArchitectureByName(std::string_view name);

}  // namespace lfm2
