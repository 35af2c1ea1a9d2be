#include <cstdint>

#include "model/formats/npz.h"
#include "tests/fuzz/archive_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lfm2::CheckArchive(lfm2::ParseNpz("f.npz", {reinterpret_cast<const std::byte*>(data), size}));
  return 0;
}
