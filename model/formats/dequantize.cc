#include "model/formats/dequantize.h"

#include <bit>
#include <cstring>

namespace lfm2 {
namespace {

constexpr int kBlock = 32;
constexpr int kHalfBlock = kBlock / 2;

uint16_t Load16(const std::byte* at) {
  return static_cast<uint16_t>(std::to_integer<unsigned>(at[0]) | std::to_integer<unsigned>(at[1])
                                                                      << 8);
}

void Q8Block(const std::byte* block, float* out) {
  const float d = HalfToFloat(Load16(block));
  for (int i = 0; i < kBlock; ++i) {
    out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

struct Scale {
  float d;
  float minimum;
  int zero;  // the q that represents the minimum
};

void Q4Halves(const std::byte* packed, Scale scale, float* out) {
  for (int i = 0; i < kHalfBlock; ++i) {
    const int byte = std::to_integer<int>(packed[i]);
    out[i] = scale.d * static_cast<float>((byte & 15) - scale.zero) + scale.minimum;
    out[i + kHalfBlock] = scale.d * static_cast<float>((byte >> 4) - scale.zero) + scale.minimum;
  }
}

void Q4ZeroBlock(const std::byte* block, float* out) {
  Q4Halves(block + 2, {HalfToFloat(Load16(block)), 0.0F, 8}, out);
}

void Q4OneBlock(const std::byte* block, float* out) {
  Q4Halves(block + 4, {HalfToFloat(Load16(block)), HalfToFloat(Load16(block + 2)), 0}, out);
}

template <typename Read>
void EachBlock(const TensorView& view, std::span<float> out, Read read) {
  const int64_t size = SizeOf(view.dtype);
  float* to = out.data();
  for (int64_t at = 0; at < view.bytes; at += size, to += BlockElements(view.dtype)) {
    read(view.data + at, to);
  }
}

}  // namespace

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = bits >> 10 & 31U;
  const uint32_t fraction = bits & 1023U;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | fraction << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  // Subnormal: a whole number of 2^-24.
  const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
  return sign != 0 ? -magnitude : magnitude;
}

void Dequantize(const TensorView& view, std::span<float> out) {
  switch (view.dtype) {
    case DType::kF32:
      if (view.bytes > 0) std::memcpy(out.data(), view.data, static_cast<size_t>(view.bytes));
      return;
    case DType::kF16:
      return EachBlock(view, out,
                       [](const std::byte* from, float* to) { *to = HalfToFloat(Load16(from)); });
    case DType::kBF16:
      return EachBlock(
          view, out, [](const std::byte* from, float* to) { *to = BFloat16ToFloat(Load16(from)); });
    case DType::kQ8_0:
      return EachBlock(view, out, Q8Block);
    case DType::kQ4_0:
      return EachBlock(view, out, Q4ZeroBlock);
    case DType::kQ4_1:
      return EachBlock(view, out, Q4OneBlock);
    case DType::kF64:
    case DType::kI64:
    case DType::kI32:
    case DType::kI16:
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return;
  }
}

}  // namespace lfm2
