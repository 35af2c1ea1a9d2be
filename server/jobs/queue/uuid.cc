#include "server/jobs/queue/uuid.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdio>
#include <random>

namespace lfm2 {
namespace {

bool IsHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

uint64_t RandomBits() {
  uint64_t bits = 0;
  if (getrandom(&bits, sizeof(bits), 0) == static_cast<ssize_t>(sizeof(bits))) return bits;
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !IsHex(text[i])) return false;
  }
  return true;
}

UuidSequence::UuidSequence(std::string_view newest) {
  if (!IsUuid(newest)) return;
  // "tttttttt-tttt-7ccc-…": time, version digit, count.
  const std::string digits = std::string(newest.substr(0, 8)) + std::string(newest.substr(9, 4)) +
                             std::string(newest.substr(15, 3));
  last_ = std::stoull(digits, nullptr, 16);
}

std::string UuidSequence::Next(int64_t unix_ms) {
  last_ = std::max(last_ + 1, static_cast<uint64_t>(unix_ms) << 12);
  const uint64_t ms = last_ >> 12;
  const uint64_t random = RandomBits();
  char text[37];
  std::snprintf(text, sizeof(text), "%08x-%04x-7%03x-%04x-%012llx",
                static_cast<unsigned>((ms >> 16) & 0xffffffff), static_cast<unsigned>(ms & 0xffff),
                static_cast<unsigned>(last_ & 0xfff),
                static_cast<unsigned>(0x8000 | ((random >> 48) & 0x3fff)),
                static_cast<unsigned long long>(random & 0xffffffffffff));
  return text;
}

}  // namespace lfm2
