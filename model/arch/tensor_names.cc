#include "model/arch/tensor_names.h"

#include <charconv>

namespace lfm2 {
namespace {

constexpr std::string_view kOurLayers = "model.layers.", kGgufLayers = "blk.";
constexpr std::string_view kWeight = ".weight", kBias = ".bias";

bool IsOfModel(Role role) { return role <= Role::kHead; }

std::string_view EndingOf(const TensorId& id) {
  if (IsSsmParameter(id.role)) return {};
  return id.bias ? kBias : kWeight;
}

const TensorName* Find(TensorNames names, Role role) {
  for (const TensorName& name : names) {
    if (name.role == role) return &name;
  }
  return nullptr;
}

std::string InLayer(std::string_view layers, int64_t layer, std::string_view name) {
  if (layer < 0) return std::string(name);
  return std::string(layers) + std::to_string(layer) + "." + std::string(name);
}

// A name split into its layer, its stem and its suffix.
struct NameParts {
  std::optional<int64_t> layer;
  bool plain = true;  // false for a number like "007", which would be a second name of layer 7
  std::string_view stem;
  std::string_view ending;
};

std::optional<NameParts> Cut(std::string_view layers, std::string_view name) {
  NameParts parts;
  for (const std::string_view ending : {kWeight, kBias}) {
    if (name.ends_with(ending)) parts.ending = ending;
  }
  parts.stem = name.substr(0, name.size() - parts.ending.size());
  if (!parts.stem.starts_with(layers)) return parts;
  parts.stem.remove_prefix(layers.size());
  const char* const end = parts.stem.data() + parts.stem.size();
  int64_t layer = 0;
  const auto [rest, error] = std::from_chars(parts.stem.data(), end, layer);
  if (error != std::errc() || rest == end || *rest != '.') return std::nullopt;
  parts.layer = layer;
  parts.plain = layer >= 0 && parts.stem.substr(0, static_cast<size_t>(rest - parts.stem.data())) ==
                                  std::to_string(layer);
  parts.stem = {rest + 1, static_cast<size_t>(end - rest - 1)};
  return parts;
}

template <typename Matches>
std::optional<TensorId> Identify(TensorNames names, std::string_view layers, std::string_view name,
                                 const Matches& matches) {
  const std::optional<NameParts> parts = Cut(layers, name);
  if (!parts || !parts->plain) return std::nullopt;
  for (const TensorName& row : names) {
    if (!matches(row, parts->stem) || IsOfModel(row.role) == parts->layer.has_value()) {
      continue;
    }
    const TensorId id{row.role, parts->layer.value_or(-1), parts->ending == kBias};
    if (EndingOf(id) == parts->ending) return id;
  }
  return std::nullopt;
}

}  // namespace

bool IsNorm(Role role) {
  return role == Role::kFinalNorm || (role >= Role::kMixerNorm && role <= Role::kFeedForwardNorm) ||
         role == Role::kQueryNorm || role == Role::kKeyNorm;
}

bool IsSsmParameter(Role role) { return role >= Role::kSsmALog && role <= Role::kSsmLogDt; }

bool IsOfAttention(Role role) { return role >= Role::kQuery && role <= Role::kKeyNorm; }

bool IsOfShortConv(Role role) { return role >= Role::kConvIn && role <= Role::kConvOut; }

std::string LayerName(int64_t layer) { return std::string(kOurLayers) + std::to_string(layer); }

std::string StemOf(TensorNames names, Role role, int64_t layer) {
  const TensorName* name = Find(names, role);
  return name == nullptr ? "" : InLayer(kOurLayers, layer, name->ours);
}

std::string NameOf(TensorNames names, const TensorId& id) {
  const std::string stem = StemOf(names, id.role, id.layer);
  return stem.empty() ? stem : stem + std::string(EndingOf(id));
}

std::string GgufNameOf(TensorNames names, const TensorId& id) {
  const TensorName* name = Find(names, id.role);
  if (name == nullptr) return "";
  return InLayer(kGgufLayers, id.layer, name->gguf) + std::string(EndingOf(id));
}

std::string LlamaCppName(TensorNames names, std::string_view name) {
  const std::optional<TensorId> id = IdOf(names, name);
  return id ? GgufNameOf(names, *id) : "";
}

std::optional<TensorId> IdOf(TensorNames names, std::string_view name) {
  return Identify(names, kOurLayers, name,
                  [](const TensorName& row, std::string_view stem) { return row.ours == stem; });
}

std::optional<int64_t> LayerOf(std::string_view name) {
  const std::optional<NameParts> parts = Cut(kOurLayers, name);
  return parts ? parts->layer : std::nullopt;
}

std::optional<TensorId> IdOfGguf(TensorNames names, std::string_view name) {
  return Identify(names, kGgufLayers, name, [](const TensorName& row, std::string_view stem) {
    return row.gguf == stem || (!row.old_gguf.empty() && row.old_gguf == stem);
  });
}

}  // namespace lfm2
