#include "server/jobs/wire/old_form.h"

#include <iterator>
#include <optional>

#include "base/errors.h"
#include "lfm2/internal/worker.pb.h"
#include "model/arch/registry.h"
#include "server/jobs/wire/codec.h"

namespace lfm2 {
namespace {

namespace pb = internal;
using google::protobuf::FieldDescriptor;

constexpr const char* kDtypes[] = {"auto", "float32", "bfloat16"};

absl::Status Malformed() {
  return Error(Reason::kInternal, "stored bytes are not a message of an older program");
}

// The number in a field that is a name now: its wire type differs from the name's, so it is an
// unknown field.
std::optional<uint64_t> NumberAt(const google::protobuf::Message& message, int field) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const auto& one = unknown.field(i);
    if (one.number() == field && one.type() == google::protobuf::UnknownField::TYPE_VARINT) {
      return one.varint();
    }
  }
  return std::nullopt;
}

// An absent option meant 0; now it means the default.
void SetWhatIsZero(v1::TrainOptions& options) {
  const auto* reflection = options.GetReflection();
  const auto* descriptor = options.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (!field->has_presence() || reflection->HasField(options, field)) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      reflection->SetInt64(&options, field, 0);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      reflection->SetDouble(&options, field, 0);
    } else {
      reflection->SetString(&options, field, "");
    }
  }
}

absl::Status Renew(v1::TrainOptions& options) {
  const uint64_t dtype = NumberAt(options, v1::TrainOptions::kDtypeFieldNumber).value_or(0);
  if (dtype >= std::size(kDtypes)) return Malformed();
  SetWhatIsZero(options);
  options.set_dtype(kDtypes[dtype]);
  options.set_schedule(static_cast<v1::LrSchedule>(options.schedule() + 1));
  return absl::OkStatus();
}

absl::Status Renew(v1::ModelShape& shape) {
  const std::optional<uint64_t> number = NumberAt(shape, v1::ModelShape::kArchitectureFieldNumber);
  if (!number) return absl::OkStatus();
  if (*number >= AllArchitectures().size()) return Malformed();
  shape.set_architecture(NameOf(static_cast<Architecture>(*number)));
  return absl::OkStatus();
}

void Renew(pb::Event& event) {
  if (event.has_state()) {
    event.mutable_state()->set_state(static_cast<v1::JobState>(event.state().state() + 1));
  }
  if (!event.has_report()) return;
  for (pb::TensorReport& tensor : *event.mutable_report()->mutable_tensors()) {
    tensor.set_fate(static_cast<v1::TensorReport::Fate>(tensor.fate() + 1));
  }
}

}  // namespace

absl::StatusOr<JobSpec> DecodeOldJobSpec(std::string_view bytes) {
  pb::JobSpec spec;
  if (!spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed();
  spec.set_kind(static_cast<v1::JobKind>(spec.kind() + 1));
  spec.set_export_format(static_cast<v1::ExportFormat>(spec.export_format() + 1));
  if (absl::Status status = Renew(*spec.mutable_shape()); !status.ok()) return status;
  if (absl::Status status = Renew(*spec.mutable_train()); !status.ok()) return status;
  return DecodeJobSpec(spec.SerializeAsString());
}

absl::StatusOr<JobEvent> DecodeOldJobEvent(std::string_view bytes) {
  pb::Event event;
  if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed();
  Renew(event);
  return DecodeJobEvent(event.SerializeAsString());
}

}  // namespace lfm2
