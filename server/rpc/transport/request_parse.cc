#include "server/rpc/transport/request_parse.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <vector>

#include "base/errors.h"
#include "base/utf8.h"

namespace lfm2 {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr int kMaxDepth = 32;  // our messages nest at most 6 deep

// An error for the first string field, in wire order, that is not UTF-8; OK when all are.
absl::Status FindInvalidUtf8(const std::string& bytes, const Descriptor& type,
                             const std::string& prefix, int depth) {
  UnknownFieldSet fields;
  if (depth > kMaxDepth || !fields.ParseFromString(bytes)) return absl::OkStatus();
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& value = fields.field(i);
    const FieldDescriptor* field = type.FindFieldByNumber(value.number());
    if (field == nullptr || value.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string path = prefix + field->name();
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      if (absl::Status inner = FindInvalidUtf8(value.length_delimited(), *field->message_type(),
                                               path + ".", depth + 1);
          !inner.ok()) {
        return inner;
      }
    }
    if (field->type() != FieldDescriptor::TYPE_STRING) continue;
    if (const absl::Status utf8 = CheckUtf8(value.length_delimited()); !utf8.ok()) {
      ErrorDetails details = DetailsOf(utf8);
      details.reason = Reason::kInvalidUtf8;
      details.metadata["field"] = path;
      details.violations.push_back({path, std::string(utf8.message())});
      return WithDetails(path + ": " + std::string(utf8.message()), details);
    }
  }
  return absl::OkStatus();
}

std::string Flatten(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  const std::string flat = Flatten(bytes);
  if (message.ParseFromString(flat)) return absl::OkStatus();
  const Descriptor& type = *message.GetDescriptor();
  if (absl::Status utf8 = FindInvalidUtf8(flat, type, "", 0); !utf8.ok()) return utf8;
  return Error(Reason::kInvalidArgument,
               "the bytes are not a valid message of type " + type.full_name());
}

grpc::ByteBuffer SerializeReply(const google::protobuf::MessageLite& message) {
  const std::string bytes = message.SerializeAsString();
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace lfm2
