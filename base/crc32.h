// CRC-32 of zip and gzip (polynomial 0xEDB88320, reflected), eight bytes a step.
#pragma once

#include <cstdint>
#include <string_view>

namespace lfm2 {

// `crc` is 0 at the start, or the result for what came before.
uint32_t Crc32(uint32_t crc, std::string_view bytes);

}  // namespace lfm2
