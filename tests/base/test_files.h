// What the tests of formats share: a folder of their own, goldens, and short ways to look at a
// Status and a tensor.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/errors.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

inline std::filesystem::path Golden(const std::string& name) {
  return std::filesystem::path(LFM2_GOLDENS_DIR) / name;
}

inline std::string Slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void Spill(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline std::span<const std::byte> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string_view NameOfReason(const absl::Status& status) {
  return status.ok() ? "OK" : SpecOf(DetailsOf(status).reason).name;
}

template <typename T>
std::vector<T> ValuesOf(const TensorView& tensor) {
  std::vector<T> out(static_cast<size_t>(tensor.bytes) / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.data, out.size() * sizeof(T));
  return out;
}

// Little-endian bytes of a number.
template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A folder that goes away with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lfm2-formats-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lfm2

#define EXPECT_REASON(name, status) EXPECT_EQ(NameOfReason(status), name) << (status)
#define EXPECT_SAYS(text, status) \
  EXPECT_NE(std::string((status).message()).find(text), std::string::npos) << (status)
