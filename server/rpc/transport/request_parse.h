// Parses the bytes of a request, with an error that says what is wrong. The methods are registered
// raw because the library's own parser answers UNIMPLEMENTED when it cannot parse the bytes. Thread
// rule: pure functions.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "absl/status/status.h"

namespace lfm2 {

// kInvalidUtf8 {field, offset} when a string field is not UTF-8, kInvalidArgument when the bytes
// are not such a message.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

grpc::ByteBuffer SerializeReply(const google::protobuf::MessageLite& message);

}  // namespace lfm2
