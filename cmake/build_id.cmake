# server/torch/parts/build_id.h, made at build time: one number that lfm2d and liblfm2_torch.so carry, each compiled in. It is a hash over
# the sources that either is made of and over what they are compiled with, so two builds that could differ in a type differ in it;
# no path, time or commit goes in. Only what includes the header is compiled again when it changes.
function(lfm2_build_id)
  set(patterns)
  foreach(folder base model server proto)
    list(APPEND patterns ${CMAKE_SOURCE_DIR}/${folder}/*.h ${CMAKE_SOURCE_DIR}/${folder}/*.cc ${CMAKE_SOURCE_DIR}/${folder}/*.proto)
  endforeach()
  file(GLOB_RECURSE sources RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${patterns})
  file(GLOB scripts RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/*.cmake)
  list(APPEND sources ${scripts} CMakeLists.txt deps/wheels-cpu.txt)
  list(SORT sources)
  string(JOIN " " settings ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_SYSTEM_PROCESSOR} ${CMAKE_BUILD_TYPE}
         "${CMAKE_CXX_FLAGS}" sanitize=${LFM2_SANITIZE} tsan=${LFM2_TSAN} absl=${absl_VERSION} protobuf=${Protobuf_VERSION}
         grpc=${gRPC_VERSION} json=${nlohmann_json_VERSION})
  set(folder ${CMAKE_BINARY_DIR}/build_id)
  string(JOIN "\n" inputs "${settings}" ${sources})
  file(CONFIGURE OUTPUT ${folder}/inputs.txt CONTENT "${inputs}\n" @ONLY)
  set(header ${folder}/server/torch/parts/build_id.h)
  list(TRANSFORM sources PREPEND ${CMAKE_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${header}
    COMMAND ${CMAKE_COMMAND} -D INPUTS=${folder}/inputs.txt -D SOURCE_DIR=${CMAKE_SOURCE_DIR} -D HEADER=${header}
            -P ${CMAKE_SOURCE_DIR}/cmake/write_build_id.cmake
    DEPENDS ${folder}/inputs.txt ${CMAKE_SOURCE_DIR}/cmake/write_build_id.cmake ${sources} VERBATIM COMMENT "build id")
  add_custom_target(lfm2_build_id_header DEPENDS ${header})
  add_library(lfm2_build_id INTERFACE)
  target_include_directories(lfm2_build_id INTERFACE ${folder})
  add_dependencies(lfm2_build_id lfm2_build_id_header)
endfunction()
