# LibTorch from the unpacked PyPI wheel. Only the CPU libraries are linked; libtorch_cuda.so is opened at run time.
if(NOT LFM2_TORCH)
  return()
endif()
set(torch_root ${LFM2_DEPS}/torch)
if(NOT EXISTS ${torch_root}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch is not in ${torch_root}: run `make setup`")
endif()
add_library(lfm2_torch INTERFACE)
target_include_directories(lfm2_torch SYSTEM INTERFACE ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_libraries(lfm2_torch INTERFACE ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so)
# The second path is where scripts/stage.sh puts the libraries beside an installed program. As a property: CMake quotes the
# dollar for the generator and the shell, which a link option of ours does not survive.
list(APPEND CMAKE_BUILD_RPATH ${torch_root}/lib "\$ORIGIN/../torch/lib")
# A precompiled header serves libraries and programs alike only when both are compiled one way: programs default to -fPIE.
target_compile_options(lfm2_torch INTERFACE -fPIC)
target_compile_definitions(lfm2_torch INTERFACE LFM2_TORCH_LIB_DIR="${torch_root}/lib")

# One precompiled <torch/torch.h> for every file that sees LibTorch: 30 s once instead of 30 s a file.
file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cc "// Carries the precompiled header.\n")
add_library(lfm2_torch_pch OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cc)
target_link_libraries(lfm2_torch_pch PUBLIC lfm2_torch PRIVATE lfm2_flags)
target_precompile_headers(lfm2_torch_pch PRIVATE <torch/torch.h>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lfm2_torch_pch PRIVATE -fpch-preprocess)
endif()
