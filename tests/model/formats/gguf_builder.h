// GGUF files made byte by byte, wrong ones too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/base/test_files.h"

namespace lfm2::gguf {

inline std::string Str(const std::string& text) { return Raw<uint64_t>(text.size()) + text; }

inline std::string Entry(const std::string& key, uint32_t type, const std::string& value) {
  return Str(key) + Raw(type) + value;
}

inline std::string Info(const std::string& name, const std::vector<uint64_t>& ne, uint32_t type,
                        uint64_t offset) {
  std::string out = Str(name) + Raw(static_cast<uint32_t>(ne.size()));
  for (uint64_t n : ne) out += Raw(n);
  return out + Raw(type) + Raw(offset);
}

// A whole file with the data section aligned to 32.
inline std::string File(const std::vector<std::string>& entries,
                        const std::vector<std::string>& infos, size_t data_bytes) {
  std::string out =
      "GGUF" + Raw<uint32_t>(3) + Raw<uint64_t>(infos.size()) + Raw<uint64_t>(entries.size());
  for (const std::string& entry : entries) out += entry;
  for (const std::string& info : infos) out += info;
  while (out.size() % 32 != 0) out += '\0';
  return out + std::string(data_bytes, '\x01');
}

}  // namespace lfm2::gguf
