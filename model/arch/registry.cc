#include "model/arch/registry.h"

#include <iterator>
#include <vector>

namespace lfm2 {

// Each is defined in its architecture's own file, which has no header: nobody else needs it.
extern const ArchSpec kLfm2Arch, kHybridArch, kLlamaArch;

namespace {

constexpr const ArchSpec* kArchitectures[] = {&kLfm2Arch, &kHybridArch, &kLlamaArch};
constexpr const ArchSpec* kByMark[] = {&kHybridArch, &kLfm2Arch, &kLlamaArch};
static_assert(std::size(kByMark) == std::size(kArchitectures));

std::string Listed(const std::vector<std::string>& words, const char* last_word) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " " + std::string(last_word) + " " : ", ";
    out += words[i];
  }
  return out;
}

}  // namespace

std::span<const ArchSpec* const> AllArchitectures() { return kArchitectures; }

std::span<const ArchSpec* const> ArchitecturesByMark() { return kByMark; }

const ArchSpec& SpecOf(Architecture architecture) {
  return *kArchitectures[static_cast<size_t>(architecture)];
}

const ArchSpec& SpecOf(const ModelConfig& config) { return SpecOf(config.architecture); }

std::optional<TensorId> IdOfAny(std::string_view name) {
  for (const ArchSpec* spec : kArchitectures) {
    if (const std::optional<TensorId> id = IdOf(spec->tensors, name)) return id;
  }
  return std::nullopt;
}

Architecture DefaultArchitecture() { return Architecture::kHybrid; }

std::string QuotedList(const char* ArchSpec::*field, const char* last_word) {
  std::vector<std::string> words;
  for (const ArchSpec* spec : kArchitectures) {
    if (spec->*field != nullptr) words.push_back("\"" + std::string(spec->*field) + "\"");
  }
  return Listed(words, last_word);
}

std::string ArchitectureNames() {
  std::vector<std::string> words;
  for (const ArchSpec* spec : kArchitectures) words.emplace_back(spec->name);
  return Listed(words, "or");
}

const char* NameOf(Architecture architecture) { return SpecOf(architecture).name; }

std::optional<Architecture> ArchitectureByName(std::string_view name) {
  for (const ArchSpec* spec : kArchitectures) {
    if (name == spec->name) return spec->id;
  }
  return std::nullopt;
}

}  // namespace lfm2
