# Each kernel file is compiled for the instruction set in its name; model/kernels/isa.h chooses at run time. A sum that the
# source writes as two roundings stays two: what a compiler contracts differs between the paths that must agree bit for bit.
set(kernel_flags -O3 -ffp-contract=off)
set(kernel_flags_avx2 ${kernel_flags} -mavx2 -mfma -mf16c)
set(kernel_flags_avx512 ${kernel_flags_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
set(kernel_flags_avx512bf16 ${kernel_flags_avx512} -mavx512bf16)
set(kernel_flags_amx ${kernel_flags_avx512bf16} -mamx-tile -mamx-int8 -mamx-bf16)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # It turns a chain of vector sums into a tree, for which AVX2 has too few registers.
  list(APPEND kernel_flags_avx2 -fno-tree-reassoc)
  list(APPEND kernel_flags_avx512 -Wno-uninitialized)  # g++ 12 finds it in its own <immintrin.h>
  list(APPEND kernel_flags_avx512bf16 -Wno-uninitialized)
  list(APPEND kernel_flags_amx -Wno-uninitialized)
endif()
foreach(set portable avx2 avx512 avx512bf16 amx)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/model/kernels/*_${set}.cc)
  if(set STREQUAL "portable")
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${kernel_flags}")
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${kernel_flags_${set}}")
  elseif(sources)
    set_source_files_properties(${sources} PROPERTIES HEADER_FILE_ONLY ON)
  endif()
endforeach()
