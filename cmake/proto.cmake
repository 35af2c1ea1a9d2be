# protoc over proto/ and over the google/rpc files that the wheel googleapis-common-protos carries.
set(proto_out ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${proto_out})
find_program(LFM2_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)

# lfm2_proto_library(NAME [STUBS] ROOT folder FILES files...): the messages of the files or, with STUBS, the services alone.
function(lfm2_proto_library name)
  cmake_parse_arguments(arg "STUBS" "ROOT" "FILES" ${ARGN})
  set(suffix .pb)
  set(flags --cpp_out=${proto_out})
  if(arg_STUBS)
    set(suffix .grpc.pb)
    set(flags --grpc_out=${proto_out} --plugin=protoc-gen-grpc=${LFM2_GRPC_PLUGIN})
  endif()
  set(sources)
  foreach(file ${arg_FILES})
    string(REGEX REPLACE "\\.proto$" "" stem ${file})
    set(outputs ${proto_out}/${stem}${suffix}.cc ${proto_out}/${stem}${suffix}.h)
    add_custom_command(OUTPUT ${outputs}
      COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR}/proto -I ${LFM2_DEPS} ${flags} ${arg_ROOT}/${file}
      DEPENDS ${arg_ROOT}/${file} VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC ${proto_out})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf)
  set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "")  # what protoc writes is not ours to judge
endfunction()

file(GLOB v1_protos RELATIVE ${CMAKE_SOURCE_DIR}/proto CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/lfm2/v1/*.proto)
lfm2_proto_library(lfm2_google_rpc ROOT ${LFM2_DEPS} FILES google/rpc/status.proto google/rpc/code.proto google/rpc/error_details.proto)
lfm2_proto_library(lfm2_messages ROOT ${CMAKE_SOURCE_DIR}/proto FILES ${v1_protos})
lfm2_proto_library(lfm2_job_proto ROOT ${CMAKE_SOURCE_DIR}/proto FILES lfm2/internal/worker.proto)
target_link_libraries(lfm2_job_proto PUBLIC lfm2_messages)
lfm2_proto_library(lfm2_proto STUBS ROOT ${CMAKE_SOURCE_DIR}/proto FILES ${v1_protos})
target_link_libraries(lfm2_proto PUBLIC lfm2_messages lfm2_google_rpc ${LFM2_GRPCPP_ERROR_DETAILS} gRPC::grpc++ gRPC::grpc++_reflection)
