#include "base/crc32.h"

#include <gtest/gtest.h>

#include <string>

namespace lfm2 {
namespace {

TEST(Crc32, AgreesWithTheStandardsCheckValue) {
  EXPECT_EQ(Crc32(0, "123456789"), 0xCBF43926u);
  EXPECT_EQ(Crc32(0, ""), 0u);
}

TEST(Crc32, IsTheSameInPiecesOfAnyLength) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Crc32(Crc32(0, text.substr(0, cut)), text.substr(cut)), Crc32(0, text)) << cut;
  }
}

}  // namespace
}  // namespace lfm2
