// The input as a whole file, and as a member of a sound zip: mutations alone never get past the
// checksums.
#include <cstdint>
#include <string>

#include "model/formats/npz.h"
#include "tests/fuzz/archive_check.h"
#include "tests/model/formats/zip_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lfm2::CheckArchive(lfm2::ParseNpz("f.npz", {reinterpret_cast<const std::byte*>(data), size}));
  const std::string member(reinterpret_cast<const char*>(data), size);
  const std::string zip = lfm2::Zip({{"w.npy", member}});
  lfm2::CheckArchive(
      lfm2::ParseNpz("f.npz", {reinterpret_cast<const std::byte*>(zip.data()), zip.size()}));
  return 0;
}
