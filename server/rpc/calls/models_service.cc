#include <algorithm>

#include "base/status_macros.h"
#include "lfm2/v1/models.grpc.pb.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/export_call.h"
#include "server/rpc/calls/init_call.h"
#include "server/rpc/calls/model_info.h"
#include "server/rpc/calls/parity_call.h"
#include "server/rpc/calls/services.h"
#include "server/rpc/calls/with_tokenizer.h"
#include "server/rpc/transport/unary_call.h"

namespace lfm2 {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using M = v1::Models;
using RawModels = M::WithRawCallbackMethod_ListModels<
    M::WithRawCallbackMethod_GetModel<M::WithRawCallbackMethod_InitModel<
        M::WithRawCallbackMethod_Export<M::WithRawCallbackMethod_Parity<M::Service>>>>>;

// A page token is the last name of the page before; names are sorted.
absl::StatusOr<v1::ListModelsResponse> DoListModels(RpcCall& call,
                                                    const v1::ListModelsRequest& request) {
  RequestCheck check;
  const int page = CheckPageSize(request.has_page_size(), request.page_size(), check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const std::vector<ModelVersion> all, call.services().model_store.List());
  auto first = std::find_if(all.begin(), all.end(), [&](const ModelVersion& version) {
    return version.name > request.page_token();
  });
  v1::ListModelsResponse response;
  for (; first != all.end(); ++first) {
    if (response.models_size() == page) {
      response.set_next_page_token(std::prev(first)->name);
      break;
    }
    *response.add_models() = BriefModelInfo(*first, call.core());
  }
  return response;
}

absl::StatusOr<v1::Model> DoGetModel(RpcCall& call, const v1::GetModelRequest& request) {
  RequestCheck check;
  CheckModelRef(request.model(), call.services().limits, check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const std::string reference,
                        ModelReference(request.model(), call.services()));
  LFM2_ASSIGN_OR_RETURN(const ModelVersion version, call.services().model_store.Resolve(reference));
  return FullModelInfo(version, call.core());
}

class ModelsService final : public RawModels {
 public:
  explicit ModelsService(std::shared_ptr<ServiceCore> core) : core_(std::move(core)) {}

  grpc::ServerUnaryReactor* ListModels(Context* context, const ByteBuffer* request,
                                       ByteBuffer* response) override {
    return Answer<v1::ListModelsRequest, v1::ListModelsResponse>(
        core_, {context, "/lfm2.v1.Models/ListModels", request, response}, DoListModels);
  }
  grpc::ServerUnaryReactor* GetModel(Context* context, const ByteBuffer* request,
                                     ByteBuffer* response) override {
    return AnswerWithTokenizer<v1::GetModelRequest, v1::Model>(
        core_, {context, "/lfm2.v1.Models/GetModel", request, response}, DoGetModel);
  }
  grpc::ServerWriteReactor<ByteBuffer>* InitModel(Context* context,
                                                  const ByteBuffer* request) override {
    return OpenStream<InitCall, v1::InitModelRequest>(core_, context, "/lfm2.v1.Models/InitModel",
                                                      *request);
  }
  grpc::ServerWriteReactor<ByteBuffer>* Export(Context* context,
                                               const ByteBuffer* request) override {
    return OpenStream<ExportCall, v1::ExportRequest>(core_, context, "/lfm2.v1.Models/Export",
                                                     *request);
  }
  grpc::ServerWriteReactor<ByteBuffer>* Parity(Context* context,
                                               const ByteBuffer* request) override {
    return OpenStream<ParityCall, v1::ParityRequest>(core_, context, "/lfm2.v1.Models/Parity",
                                                     *request);
  }

 private:
  const std::shared_ptr<ServiceCore> core_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelsService(std::shared_ptr<ServiceCore> core) {
  return std::make_unique<ModelsService>(std::move(core));
}

}  // namespace lfm2
