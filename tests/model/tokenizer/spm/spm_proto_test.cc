#include "model/tokenizer/spm/spm_proto.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/errors.h"

namespace lfm2 {
namespace {

std::string Field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>((number << 3) | 2));
  size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) out += static_cast<char>((size & 0x7F) | 0x80);
  out += static_cast<char>(size);
  return out + bytes;
}

// A model whose character map has these units before these strings.
std::string ModelWithMap(const std::vector<uint32_t>& units, const std::string& strings) {
  const auto size = static_cast<uint32_t>(units.size() * 4);
  std::string map(4 + size, '\0');
  std::memcpy(map.data(), &size, 4);
  std::memcpy(map.data() + 4, units.data(), size);
  return Field(3, Field(2, map + strings));
}

TEST(SpmSpec, ReadsTheRulesOfDecoding) {
  const std::string flags = {'\x18', '\0', '\x20', '\0'};
  const SpmSpec spec = *SpmSpec::Read(Field(3, flags));
  EXPECT_FALSE(spec.add_dummy_prefix);
  EXPECT_FALSE(spec.remove_extra_whitespaces);
  EXPECT_TRUE(SpmSpec::Read("")->add_dummy_prefix);
}

TEST(SpmSpec, TakesACharacterMapThatStaysInItself) {
  EXPECT_TRUE(
      SpmSpec::Read(ModelWithMap(std::vector<uint32_t>(256, 0), std::string("x\0", 2))).ok());
}

TEST(SpmSpec, RefusesACharacterMapThatPointsOutsideItself) {
  std::vector<uint32_t> units(256, 0);
  units[7] = uint32_t{1000} << 10;
  EXPECT_FALSE(SpmSpec::Read(ModelWithMap(units, std::string("x\0", 2))).ok());
}

TEST(SpmSpec, RefusesACharacterMapWhoseValueIsOutsideItsStrings) {
  std::vector<uint32_t> units(256, 0);
  units[0] = (uint32_t{1} << 10) | 0x100;
  units[1] = (uint32_t{1} << 31) | 99;
  EXPECT_FALSE(SpmSpec::Read(ModelWithMap(units, std::string("x\0", 2))).ok());
}

TEST(SpmSpec, RefusesStringsWithoutAnEnd) {
  EXPECT_FALSE(SpmSpec::Read(ModelWithMap(std::vector<uint32_t>(256, 0), "x")).ok());
}

TEST(SpmSpec, RefusesAFieldLongerThanTheFile) {
  EXPECT_EQ(DetailsOf(SpmSpec::Read("\x1A\x7Fx").status()).reason, Reason::kTokenizerInvalid);
}

}  // namespace
}  // namespace lfm2
