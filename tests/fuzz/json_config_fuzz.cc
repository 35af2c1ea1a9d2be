// config.json: whatever is read can be written and read again as the same config.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/arch/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto config = lfm2::ParseModelConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok()) return 0;
  if (config->num_layers() <= 64 && config->ParameterCount() <= 0) std::abort();
  auto again = lfm2::ParseModelConfig(lfm2::ModelConfigToJson(*config));
  config->formula_intermediate_size.reset();
  config->configured_intermediate_size.reset();
  if (!again.ok() || *again != *config) std::abort();
  return 0;
}
