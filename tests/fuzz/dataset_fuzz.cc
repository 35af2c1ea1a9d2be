// Both formats over a file in memory; the first byte picks the format and the size of a piece.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "model/formats/dataset.h"

namespace {

void ReadAll(const std::string& path, lfm2::DatasetFormat format, int64_t piece_bytes,
             size_t expected) {
  auto reader = lfm2::DatasetReader::Open(path, format, piece_bytes);
  if (!reader.ok()) std::abort();
  size_t total = 0;
  while (true) {
    auto piece = (*reader)->Next();
    if (!piece.ok()) {
      if (format == lfm2::DatasetFormat::kText) std::abort();
      return;
    }
    if (!piece->has_value()) break;
    if (static_cast<int64_t>((*piece)->text.size()) > piece_bytes) std::abort();
    total += (*piece)->text.size();
  }
  if (format == lfm2::DatasetFormat::kText && total != expected) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const int fd = memfd_create("dataset", 0);
  if (fd < 0) std::abort();
  size_t written = 1;
  while (written < size) {
    const ssize_t n = write(fd, data + written, size - written);
    if (n <= 0) std::abort();
    written += static_cast<size_t>(n);
  }
  const auto format = (data[0] & 1) != 0 ? lfm2::DatasetFormat::kText : lfm2::DatasetFormat::kJsonl;
  ReadAll("/proc/self/fd/" + std::to_string(fd), format, 4 + (data[0] >> 1), size - 1);
  close(fd);
  return 0;
}
