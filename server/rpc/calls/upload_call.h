// One UploadDataset: a header, then chunks. Each chunk is hashed and written on the executor before
// the next is read, so flow control slows a fast client down. An upload that is not committed
// leaves nothing behind. Thread rule: one reaction or one executor task at a time; each starts the
// next.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>

#include "lfm2/v1/training.pb.h"
#include "server/rpc/transport/rpc_call.h"
#include "server/store/dataset_store.h"

namespace lfm2 {

class UploadCall final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                         public std::enable_shared_from_this<UploadCall> {
 public:
  UploadCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
             std::string_view method, grpc::ByteBuffer* response)
      : call_(std::move(core), context, method), response_(response) {}

  static grpc::ServerReadReactor<grpc::ByteBuffer>* Open(std::shared_ptr<ServiceCore> core,
                                                         grpc::CallbackServerContext* context,
                                                         std::string_view method,
                                                         grpc::ByteBuffer* response);

  void OnReadDone(bool ok) override;
  void OnDone() override;

 private:
  void OnWorker(void (UploadCall::*step)());
  void TakePart();
  absl::Status TakeHeader(const v1::UploadHeader& header);
  absl::Status TakeChunk(const std::string& chunk);
  void Commit();
  absl::StatusOr<DatasetInfo> Stored();
  void EndWith(const absl::Status& status);

  RpcCall call_;
  grpc::ByteBuffer* const response_;
  std::shared_ptr<UploadCall> self_;
  grpc::ByteBuffer incoming_;
  std::optional<v1::UploadHeader> header_;
  std::unique_ptr<DatasetUpload> upload_;
  int64_t received_ = 0;
};

}  // namespace lfm2
