#include "lfm2/v1/generation.grpc.pb.h"
#include "model/core/status_macros.h"
#include "server/rpc/convert.h"
#include "server/rpc/convert_generation.h"
#include "server/rpc/generate_call.h"
#include "server/rpc/services.h"
#include "server/rpc/unary_call.h"

namespace lfm2 {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using G = v1::Generation;
using RawGeneration = G::WithRawCallbackMethod_Generate<G::WithRawCallbackMethod_Score<
    G::WithRawCallbackMethod_Tokenize<G::WithRawCallbackMethod_Detokenize<G::Service>>>>;

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerOf(RpcCall& call,
                                                             const v1::ModelRef& model) {
  LFM2_ASSIGN_OR_RETURN(const std::string reference, ModelReference(model, call.services()));
  LFM2_ASSIGN_OR_RETURN(const ModelVersion version, call.services().model_store.Resolve(reference));
  return call.core().tokenizers.Get(version);
}

absl::StatusOr<v1::TokenizeResponse> DoTokenize(RpcCall& call, const v1::TokenizeRequest& request) {
  LFM2_ASSIGN_OR_RETURN(const Prompt prompt, CheckTokenize(request, call.services().limits));
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                        TokenizerOf(call, request.model()));
  LFM2_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, Encode(prompt, *tokenizer));
  v1::TokenizeResponse response;
  response.mutable_ids()->Assign(ids.begin(), ids.end());
  response.set_tokenizer_sha256(tokenizer->sha256());
  return response;
}

absl::StatusOr<v1::DetokenizeResponse> DoDetokenize(RpcCall& call,
                                                    const v1::DetokenizeRequest& request) {
  RequestCheck check;
  CheckModelRef(request.model(), call.services().limits, check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                        TokenizerOf(call, request.model()));
  const std::vector<int32_t> ids(request.ids().begin(), request.ids().end());
  absl::StatusOr<std::string> text =
      tokenizer->Decode(ids, !request.has_skip_special() || request.skip_special());
  check.Add("ids", text.status());
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  v1::DetokenizeResponse response;
  response.set_text(*std::move(text));
  return response;
}

// What a score needs, made on the executor.
struct ScoreWork {
  std::shared_ptr<LoadedModel> model;
  std::vector<int32_t> ids;
};

absl::StatusOr<ScoreWork> PrepareScore(RpcCall& call, const v1::ScoreRequest& request) {
  const ServiceContext& services = call.services();
  ScoreWork work;
  LFM2_ASSIGN_OR_RETURN(const Prompt prompt, CheckScore(request, services.limits));
  LFM2_ASSIGN_OR_RETURN(const std::string reference, ModelReference(request.model(), services));
  LFM2_ASSIGN_OR_RETURN(work.model, services.models.Acquire(reference));
  LFM2_ASSIGN_OR_RETURN(work.ids, BindScore(prompt, *work.model, services.default_context));
  return work;
}

absl::StatusOr<v1::ScoreResponse> RunScore(const ScoreWork& work, ModelRunner& runner) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<float> logprobs, runner.Score(work.ids));
  v1::ScoreResponse response;
  response.set_model(work.model->name);
  response.set_version(work.model->version);
  response.mutable_ids()->Assign(work.ids.begin(), work.ids.end());
  response.mutable_logprobs()->Assign(logprobs.begin(), logprobs.end());
  return response;
}

void DoScore(const std::shared_ptr<UnaryCall>& unary, const v1::ScoreRequest& request) {
  absl::StatusOr<ScoreWork> work = PrepareScore(unary->call(), request);
  if (!work.ok()) return unary->Fail(work.status());
  unary->call().prompt_tokens = static_cast<int64_t>(work->ids.size());
  ModelTask task;
  task.model = work->model;
  task.deadline = unary->call().ClientDeadline();
  task.run = [unary, shared = std::make_shared<ScoreWork>(*std::move(work))](ModelRunner& runner) {
    if (unary->cancelled()) return unary->Fail(Error(Reason::kCancelled, "the client cancelled"));
    const absl::Status caught =
        Caught(unary->call().request_id(), [&] { unary->Reply(RunScore(*shared, runner)); });
    if (!caught.ok()) unary->Fail(caught);
  };
  task.dropped = [unary](const absl::Status& status) { unary->Fail(status); };
  const absl::Status submitted = unary->call().services().engine.Submit(std::move(task));
  if (!submitted.ok()) unary->Fail(submitted);
}

class GenerationService final : public RawGeneration {
 public:
  explicit GenerationService(std::shared_ptr<ServiceCore> core) : core_(std::move(core)) {}

  grpc::ServerWriteReactor<ByteBuffer>* Generate(Context* context,
                                                 const ByteBuffer* request) override {
    return OpenStream<GenerateCall, v1::GenerateRequest>(core_, context,
                                                         "/lfm2.v1.Generation/Generate", *request);
  }
  grpc::ServerUnaryReactor* Score(Context* context, const ByteBuffer* request,
                                  ByteBuffer* response) override {
    return AnswerLater<v1::ScoreRequest>(
        core_, {context, "/lfm2.v1.Generation/Score", request, response}, DoScore);
  }
  grpc::ServerUnaryReactor* Tokenize(Context* context, const ByteBuffer* request,
                                     ByteBuffer* response) override {
    return Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
        core_, {context, "/lfm2.v1.Generation/Tokenize", request, response}, DoTokenize);
  }
  grpc::ServerUnaryReactor* Detokenize(Context* context, const ByteBuffer* request,
                                       ByteBuffer* response) override {
    return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
        core_, {context, "/lfm2.v1.Generation/Detokenize", request, response}, DoDetokenize);
  }

 private:
  const std::shared_ptr<ServiceCore> core_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(std::shared_ptr<ServiceCore> core) {
  return std::make_unique<GenerationService>(std::move(core));
}

}  // namespace lfm2
