#include <cstdint>

#include "model/formats/gguf.h"
#include "tests/fuzz/archive_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto file = lfm2::ParseGguf("f.gguf", {reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  lfm2::CheckArchive(file->weights);
  if (lfm2::Lfm2FromGguf("f.gguf", *file).ok()) lfm2::CheckArchive(file->weights);
  return 0;
}
