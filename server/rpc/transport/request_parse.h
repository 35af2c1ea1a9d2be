// Bytes of a request to its message, with an error that says what is wrong. The methods are
// registered raw because the library's own parser answers UNIMPLEMENTED to bytes that it cannot
// read. Thread rule: pure functions.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "absl/status/status.h"

namespace lfm2 {

// kInvalidUtf8 {field, offset} when a string field holds other bytes, kInvalidArgument when the
// bytes are no such message.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

grpc::ByteBuffer SerializeReply(const google::protobuf::MessageLite& message);

}  // namespace lfm2
