// Whatever is accepted agrees with itself: sizes, and values that can be made of every block.
#include <cstdint>
#include <vector>

#include "model/arch/gguf_model.h"
#include "model/formats/dequantize.h"
#include "model/formats/gguf.h"
#include "tests/fuzz/archive_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto file = lfm2::ParseGguf("f.gguf", {reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  lfm2::CheckArchive(file->weights);
  if (!lfm2::ModelFromGguf("f.gguf", *file).ok()) return 0;
  lfm2::CheckArchive(file->weights);
  for (const lfm2::TensorView& tensor : file->weights.tensors) {
    std::vector<float> values(static_cast<size_t>(*lfm2::ElementsOf(tensor.shape)));
    lfm2::Dequantize(tensor, values);
  }
  return 0;
}
