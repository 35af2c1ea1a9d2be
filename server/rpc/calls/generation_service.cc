#include "base/status_macros.h"
#include "lfm2/v1/generation.grpc.pb.h"
#include "server/engine/score_task.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_prompt.h"
#include "server/rpc/calls/convert_score.h"
#include "server/rpc/calls/generate_call.h"
#include "server/rpc/calls/services.h"
#include "server/rpc/calls/with_tokenizer.h"
#include "server/rpc/transport/service_context.h"
#include "server/rpc/transport/unary_call.h"

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

v1::ScoreResponse ScoreMessage(const LoadedModel& model, const ScoreTask& score) {
  v1::ScoreResponse response;
  response.set_model(model.name);
  response.set_version(model.version);
  response.mutable_ids()->Assign(score.tokens().begin(), score.tokens().end());
  response.mutable_logprobs()->Assign(score.logprobs().begin(), score.logprobs().end());
  return response;
}

// The engine calls it between steps until the whole text has been scored.
ModelTask TaskOf(const std::shared_ptr<UnaryCall>& unary, std::shared_ptr<LoadedModel> model,
                 std::shared_ptr<ScoreTask> score) {
  ModelTask task;
  task.model = std::move(model);
  task.tenant = std::string(unary->call().tenant());
  task.tokens = static_cast<int64_t>(score->tokens().size());
  task.keeps_state = true;
  task.deadline = unary->call().ClientDeadline();
  task.stopped = [unary] { return unary->WhyStopped(); };
  task.dropped = [unary](const absl::Status& status) { unary->Fail(status); };
  task.run = [unary, served = task.model.get(), score = std::move(score)](ModelRunner& runner) {
    const absl::StatusOr<bool> more = score->Advance(runner);
    if (!more.ok()) {
      unary->Fail(more.status());
      return false;
    }
    if (!*more) unary->Reply(ScoreMessage(*served, *score));
    return *more;
  };
  return task;
}

void StartScore(const std::shared_ptr<UnaryCall>& unary, const Prompt& prompt,
                const std::shared_ptr<LoadedModel>& model) {
  const ServiceContext& services = unary->call().services();
  absl::StatusOr<std::vector<int32_t>> ids = BindScore(prompt, *model, services.default_context);
  if (!ids.ok()) return unary->Fail(ids.status());
  unary->call().prompt_tokens = static_cast<int64_t>(ids->size());
  auto score = std::make_shared<ScoreTask>(*std::move(ids), services.limits.prompt_chunk_tokens);
  const absl::Status submitted = unary->call().Submit(
      [&] { return services.engine.Submit(TaskOf(unary, model, std::move(score))); });
  if (!submitted.ok()) unary->Fail(submitted);
}

void DoScore(const std::shared_ptr<UnaryCall>& unary, const v1::ScoreRequest& request) {
  const ServiceContext& services = unary->call().services();
  if (absl::Status room = services.engine.CheckRoom(unary->call().tenant()); !room.ok()) {
    return unary->Fail(room);
  }
  const absl::StatusOr<Prompt> prompt = CheckScore(request, services.limits);
  if (!prompt.ok()) return unary->Fail(prompt.status());
  const absl::StatusOr<std::string> reference = ModelReference(request.model(), services);
  if (!reference.ok()) return unary->Fail(reference.status());
  services.models.AcquireThen(*reference, services.loads, unary->Resume(),
                              [unary, prompt = *prompt](const ModelPool::Acquired& model) {
                                model.ok() ? StartScore(unary, prompt, *model)
                                           : unary->Fail(model.status());
                              });
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
        core_, {context, "/lfm2.v1.Generation/Score", request, response, CountsAs::kScore},
        DoScore);
  }
  grpc::ServerUnaryReactor* Tokenize(Context* context, const ByteBuffer* request,
                                     ByteBuffer* response) override {
    return AnswerWithTokenizer<v1::TokenizeRequest, v1::TokenizeResponse>(
        core_, {context, "/lfm2.v1.Generation/Tokenize", request, response, CountsAs::kRejection},
        DoTokenize);
  }
  grpc::ServerUnaryReactor* Detokenize(Context* context, const ByteBuffer* request,
                                       ByteBuffer* response) override {
    return AnswerWithTokenizer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
        core_, {context, "/lfm2.v1.Generation/Detokenize", request, response, CountsAs::kRejection},
        DoDetokenize);
  }

 private:
  const std::shared_ptr<ServiceCore> core_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(std::shared_ptr<ServiceCore> core) {
  return std::make_unique<GenerationService>(std::move(core));
}

}  // namespace lfm2
