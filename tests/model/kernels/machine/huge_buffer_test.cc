#include "model/kernels/machine/huge_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(HugeBuffer, IsZeroedAlignedAndWritable) {
  for (int64_t bytes : {int64_t{1}, int64_t{4096}, int64_t{3} << 20, (int64_t{2} << 20) + 17}) {
    auto buffer = HugeBuffer::Allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0U);
    if (bytes >= int64_t{2} << 20) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % (2U << 20), 0U);
    }
    for (int64_t i = 0; i < bytes; i += 511) {
      ASSERT_EQ(buffer->data()[i], std::byte{0});
      buffer->data()[i] = std::byte{7};
    }
    buffer->data()[bytes - 1] = std::byte{7};
  }
}

TEST(HugeBuffer, MovesItsMemory) {
  auto first = HugeBuffer::Allocate(100);
  ASSERT_TRUE(first.ok());
  std::byte* const data = first->data();
  HugeBuffer second = *std::move(first);
  EXPECT_EQ(second.data(), data);
  HugeBuffer third;
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.bytes(), 100);
}

TEST(HugeArena, BuffersStandSideBySideAndOutliveIt) {
  std::vector<HugeBuffer> buffers;
  {
    HugeArena arena;
    for (const int64_t bytes :
         {int64_t{100}, int64_t{1} << 20, (int64_t{40} << 20) + 1, int64_t{7}}) {
      auto buffer = arena.Allocate(bytes);
      ASSERT_TRUE(buffer.ok()) << buffer.status();
      buffers.push_back(*std::move(buffer));
    }
  }
  EXPECT_EQ(buffers[1].data(), buffers[0].data() + 128);
  EXPECT_EQ(buffers[3].data(), buffers[2].data() + (40 << 20) + 64);
  for (HugeBuffer& buffer : buffers) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0U);
    for (int64_t i = 0; i < buffer.bytes(); ++i) ASSERT_EQ(buffer.data()[i], std::byte{0});
    std::memset(buffer.data(), 7, static_cast<size_t>(buffer.bytes()));
  }
  const HugeBuffer last = std::move(buffers[3]);
  buffers.clear();
  EXPECT_EQ(last.data()[6], std::byte{7});
  EXPECT_FALSE(HugeArena().Allocate(int64_t{1} << 60).ok());
}

TEST(HugeBuffer, MoreThanTheAddressSpaceIsAnError) {
  const auto buffer = HugeBuffer::Allocate(int64_t{1} << 60);
  EXPECT_EQ(DetailsOf(buffer.status()).reason, Reason::kOutOfMemory);
}

}  // namespace
}  // namespace lfm2
