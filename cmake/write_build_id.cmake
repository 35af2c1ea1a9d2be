# Run by the build, see build_id.cmake: INPUTS (a line of settings, then a file a line, below SOURCE_DIR) to HEADER, which is left
# alone when it says so already.
cmake_minimum_required(VERSION 3.25)
file(STRINGS ${INPUTS} lines)
list(POP_FRONT lines settings)
string(SHA256 whole "${settings}")
foreach(name IN LISTS lines)
  file(SHA256 ${SOURCE_DIR}/${name} hash)
  string(SHA256 whole "${whole} ${name} ${hash}")
endforeach()
string(SUBSTRING ${whole} 0 16 id)
# Of internal linkage, or liblfm2_torch.so would take up the program's.
file(CONFIGURE OUTPUT ${HEADER} @ONLY CONTENT "// Made by cmake/write_build_id.cmake.
#pragma once

#include <cstdint>

namespace lfm2 {

constexpr uint64_t kBuildId = 0x${id};

}  // namespace lfm2
")
