#include "model/tokenizer/spm/spm_proto.h"

#include <cstdint>
#include <cstring>
#include <optional>

#include "base/status_macros.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {
namespace {

constexpr char kWhere[] = "sentencepiece model";

struct Field {
  uint64_t number = 0;
  uint64_t value = 0;      // wire type 0
  std::string_view bytes;  // wire type 2
};

bool TakeVarint(std::string_view& in, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in[0]);
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Takes the next field of a message from the front of `in`; nullopt when the bytes are not a field.
std::optional<Field> TakeField(std::string_view& in) {
  uint64_t tag = 0;
  if (!TakeVarint(in, tag) || (tag >> 3) == 0) return std::nullopt;
  Field field;
  field.number = tag >> 3;
  uint64_t size = 0;
  switch (tag & 7) {
    case 0:
      if (!TakeVarint(in, field.value)) return std::nullopt;
      return field;
    case 1:
      size = 8;
      break;
    case 2:
      if (!TakeVarint(in, size)) return std::nullopt;
      break;
    case 5:
      size = 4;
      break;
    default:
      return std::nullopt;
  }
  if (size > in.size()) return std::nullopt;
  field.bytes = in.substr(0, size);
  in.remove_prefix(size);
  return field;
}

uint32_t UnitAt(std::string_view units, size_t index) {
  uint32_t unit = 0;
  std::memcpy(&unit, units.data() + 4 * index, sizeof(unit));
  return unit;
}

// Checks that, for any text, every step from a unit stays in the array and every value points into
// the strings.
bool IsSafeMap(std::string_view units, std::string_view strings) {
  constexpr uint32_t kLeaf = uint32_t{1} << 31, kHasLeaf = uint32_t{1} << 8,
                     kWide = uint32_t{1} << 9;
  const size_t count = units.size() / 4;
  if (units.size() % 1024 != 0 || count == 0 || strings.empty() || strings.back() != '\0')
    return false;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t unit = UnitAt(units, i);
    if ((unit & kLeaf) != 0) continue;
    const uint64_t offset = static_cast<uint64_t>(unit >> 10) << ((unit & kWide) != 0 ? 8 : 0);
    const uint64_t target = i ^ offset;
    if (target >= count) return false;
    if ((unit & kHasLeaf) != 0 && (UnitAt(units, target) & ~kLeaf) >= strings.size()) return false;
  }
  return true;
}

absl::Status CheckCharacterMap(std::string_view map) {
  if (map.empty()) return absl::OkStatus();
  uint32_t units_size = 0;
  if (map.size() <= sizeof(units_size))
    return TokenizerError(kWhere, "its character map is cut off");
  std::memcpy(&units_size, map.data(), sizeof(units_size));
  map.remove_prefix(sizeof(units_size));
  if (units_size >= map.size() || !IsSafeMap(map.substr(0, units_size), map.substr(units_size))) {
    return TokenizerError(kWhere, "its character map points outside itself");
  }
  return absl::OkStatus();
}

// NormalizerSpec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces.
absl::Status ReadNormalizer(std::string_view bytes, SpmSpec* spec) {
  while (!bytes.empty()) {
    const std::optional<Field> field = TakeField(bytes);
    if (!field) return TokenizerError(kWhere, "its normalizer is not a protobuf message");
    if (field->number == 2) LFM2_RETURN_IF_ERROR(CheckCharacterMap(field->bytes));
    if (spec != nullptr && field->number == 3) spec->add_dummy_prefix = field->value != 0;
    if (spec != nullptr && field->number == 4) spec->remove_extra_whitespaces = field->value != 0;
  }
  return absl::OkStatus();
}

}  // namespace

// ModelProto: 3 normalizer_spec, 5 denormalizer_spec.
absl::StatusOr<SpmSpec> SpmSpec::Read(std::string_view bytes) {
  SpmSpec spec;
  while (!bytes.empty()) {
    const std::optional<Field> field = TakeField(bytes);
    if (!field) return TokenizerError(kWhere, "is not a protobuf message");
    if (field->number == 3) LFM2_RETURN_IF_ERROR(ReadNormalizer(field->bytes, &spec));
    if (field->number == 5) LFM2_RETURN_IF_ERROR(ReadNormalizer(field->bytes, nullptr));
  }
  return spec;
}

}  // namespace lfm2
