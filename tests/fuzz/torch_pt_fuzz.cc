// The input as a whole file, and as a member of a sound zip: mutations alone never get past the
// checksums.
#include <cstdint>
#include <string>

#include "model/formats/torch_pt.h"
#include "tests/fuzz/archive_check.h"
#include "tests/model/formats/zip_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lfm2::CheckArchive(lfm2::ParseTorchPt("f.pt", {reinterpret_cast<const std::byte*>(data), size}));
  const std::string member(reinterpret_cast<const char*>(data), size);
  const std::string zip = lfm2::Zip({{"a/data.pkl", member}, {"a/data/0", std::string(64, '\1')}});
  lfm2::CheckArchive(
      lfm2::ParseTorchPt("f.pt", {reinterpret_cast<const std::byte*>(zip.data()), zip.size()}));
  return 0;
}
