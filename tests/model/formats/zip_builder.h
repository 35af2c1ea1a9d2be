// Zips for tests and fuzz targets: what is under test lies behind the checksums.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lfm2 {

template <typename T>
std::string LittleEndian(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

inline uint32_t Crc32(const std::string& bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// A zip of stored members with right checksums, as torch.save and numpy.savez write them.
inline std::string Zip(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string out, central;
  for (const auto& [name, data] : members) {
    const uint32_t size = static_cast<uint32_t>(data.size());
    std::string common =
        LittleEndian<uint16_t>(20) + LittleEndian<uint16_t>(0) + LittleEndian<uint16_t>(0) +
        LittleEndian<uint16_t>(0) + LittleEndian<uint16_t>(33) +
        LittleEndian<uint32_t>(Crc32(data)) + LittleEndian(size) + LittleEndian(size) +
        LittleEndian<uint16_t>(static_cast<uint16_t>(name.size())) + LittleEndian<uint16_t>(0);
    central += LittleEndian<uint32_t>(0x02014b50) + LittleEndian<uint16_t>(20) + common +
               std::string(6, '\0') + LittleEndian<uint32_t>(0) +
               LittleEndian(static_cast<uint32_t>(out.size())) + name;
    out += LittleEndian<uint32_t>(0x04034b50) + common + name + data;
  }
  const uint16_t count = static_cast<uint16_t>(members.size());
  const uint32_t offset = static_cast<uint32_t>(out.size());
  return out + central + LittleEndian<uint32_t>(0x06054b50) + LittleEndian<uint32_t>(0) +
         LittleEndian(count) + LittleEndian(count) +
         LittleEndian(static_cast<uint32_t>(central.size())) + LittleEndian(offset) +
         LittleEndian<uint16_t>(0);
}

}  // namespace lfm2
