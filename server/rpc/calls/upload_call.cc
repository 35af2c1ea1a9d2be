#include "server/rpc/calls/upload_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_training.h"

namespace lfm2 {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* UploadCall::Open(std::shared_ptr<ServiceCore> core,
                                                            grpc::CallbackServerContext* context,
                                                            std::string_view method,
                                                            grpc::ByteBuffer* response) {
  auto upload = std::make_shared<UploadCall>(std::move(core), context, method, response);
  upload->self_ = upload;
  const absl::Status admitted = upload->call_.Admit();
  upload->call_.Identify("");
  if (admitted.ok()) {
    upload->StartRead(&upload->incoming_);
  } else {
    upload->EndWith(admitted);
  }
  return upload.get();
}

void UploadCall::OnWorker(void (UploadCall::*step)()) {
  const auto self = shared_from_this();
  call_.OnWorker([self, step] { (self.get()->*step)(); },
                 [self](const absl::Status& status) { self->EndWith(status); });
}

void UploadCall::OnReadDone(bool ok) {
  if (ok) return OnWorker(&UploadCall::TakePart);
  if (call_.cancelled_by_client()) {
    return EndWith(
        Error(Reason::kCancelled, "the client disconnected before the upload was complete"));
  }
  OnWorker(&UploadCall::Commit);
}

void UploadCall::OnDone() {
  call_.Close();
  const std::shared_ptr<UploadCall> last = std::move(self_);
}

void UploadCall::EndWith(const absl::Status& status) {
  upload_.reset();
  Finish(call_.Conclude(status));
}

void UploadCall::TakePart() {
  v1::UploadDatasetRequest part;
  absl::Status status = ParseRequest(incoming_, part);
  incoming_.Clear();
  if (status.ok()) {
    switch (part.part_case()) {
      case v1::UploadDatasetRequest::kHeader:
        status = TakeHeader(part.header());
        break;
      case v1::UploadDatasetRequest::kChunk:
        status = TakeChunk(part.chunk());
        break;
      case v1::UploadDatasetRequest::PART_NOT_SET:
        status = Error(Reason::kInvalidArgument, "a message is neither a header nor a chunk");
    }
  }
  if (!status.ok()) return EndWith(status);
  StartRead(&incoming_);
}

absl::Status UploadCall::TakeHeader(const v1::UploadHeader& header) {
  const Limits& limits = call_.services().limits;
  RequestCheck check;
  if (header_) check.Add("header", "comes a second time");
  CheckName("header.name", header.name(), limits, check);
  if (header.has_bytes()) check.Range("header.bytes", header.bytes(), 0, limits.dataset_bytes);
  if (!header.sha256().empty() && !IsSha256Hex(header.sha256())) {
    check.Add("header.sha256", "is not 64 lower-case hexadecimal digits");
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(upload_, call_.services().datasets.Begin(header.name()));
  header_ = header;
  return absl::OkStatus();
}

absl::Status UploadCall::TakeChunk(const std::string& chunk) {
  RequestCheck check;
  if (!header_) check.Add("header", "must come before the first chunk");
  if (chunk.size() > kChunkBytes) {
    check.Add("chunk", absl::StrCat("has ", chunk.size(), " bytes, limit ", kChunkBytes));
  }
  received_ += static_cast<int64_t>(chunk.size());
  if (header_ && header_->has_bytes() && received_ > header_->bytes()) {
    check.Add("header.bytes", absl::StrCat("says ", header_->bytes(), ", but at least ", received_,
                                           " bytes arrived"));
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return upload_->Append(chunk);
}

absl::StatusOr<DatasetInfo> UploadCall::Stored() {
  RequestCheck check;
  if (!header_) check.Add("header", "is missing: the stream was empty");
  if (header_ && header_->has_bytes() && received_ != header_->bytes()) {
    check.Add("header.bytes",
              absl::StrCat("says ", header_->bytes(), ", but ", received_, " bytes arrived"));
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return upload_->Commit(header_->sha256());
}

void UploadCall::Commit() {
  const absl::StatusOr<DatasetInfo> info = Stored();
  if (info.ok()) *response_ = SerializeReply(ToProto(*info));
  EndWith(info.status());
}

}  // namespace lfm2
