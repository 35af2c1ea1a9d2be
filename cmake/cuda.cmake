# liblfm2_cuda.so: kernels for sm_80, 90 and 100, and code that later GPUs translate. Compiled by the nvcc of deps/wheels-nvcc.txt
# (`make setup CUDA=1`), opened at run time. The host's compiler is the one that builds everything else; g++ where that is clang.
set(LFM2_NVCC_ROOT "${CMAKE_SOURCE_DIR}/.deps/nvcc/nvidia/cu13" CACHE PATH "Where scripts/setup.sh unpacked nvcc")
set(nvcc_found OFF)
if(EXISTS ${LFM2_NVCC_ROOT}/bin/nvcc)
  set(nvcc_found ON)
endif()
option(LFM2_CUDA "Build liblfm2_cuda.so" ${nvcc_found})

function(lfm2_cuda_library)
  if(NOT LFM2_CUDA)
    return()
  endif()
  if(NOT EXISTS ${LFM2_NVCC_ROOT}/bin/nvcc)
    message(FATAL_ERROR "nvcc is not in ${LFM2_NVCC_ROOT}: run `make setup CUDA=1`")
  endif()
  set(library ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/liblfm2_cuda.so)
  set(folder ${CMAKE_SOURCE_DIR}/model/cuda)
  file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.h)
  set(host_compiler ${CMAKE_CXX_COMPILER})
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(host_compiler g++)
  endif()
  set(architectures)
  foreach(sm 80 90)
    list(APPEND architectures -gencode arch=compute_${sm},code=sm_${sm})
  endforeach()
  list(APPEND architectures -gencode "arch=compute_100,code=[sm_100,compute_100]")
  # The runtime is LibTorch's own copy: in an image beside the program, else where the build unpacked it.
  add_custom_command(OUTPUT ${library}
    COMMAND ${LFM2_NVCC_ROOT}/bin/nvcc -ccbin ${host_compiler} -std=c++20 -O3 -lineinfo -shared -cudart none ${architectures}
            -Xcompiler "-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror" -Werror all-warnings -I ${CMAKE_SOURCE_DIR}
            ${folder}/lfm2_cuda.cu -o ${library} -L ${LFM2_NVCC_ROOT}/lib -l:libcudart.so.13 -ldl
            -Xlinker "-rpath,$ORIGIN/../nvidia/cu13/lib,-rpath,${LFM2_DEPS}/nvidia/cu13/lib"
    DEPENDS ${folder}/lfm2_cuda.cu ${headers} VERBATIM COMMENT "nvcc liblfm2_cuda.so")
  add_custom_target(lfm2_cuda ALL DEPENDS ${library})
endfunction()
