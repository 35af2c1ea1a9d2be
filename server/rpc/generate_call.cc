#include "server/rpc/generate_call.h"

#include "server/rpc/acquire_model.h"
#include "server/rpc/convert.h"

namespace lfm2 {

// What can be refused cheaply is refused first: a full queue before any text is tokenized.
void GenerateCall::Start(const v1::GenerateRequest& request) {
  if (stopped()) return;
  const ServiceContext& services = call().services();
  deadline_ = call().Deadline();
  if (absl::Status room = services.engine.CheckRoom(call().tenant()); !room.ok()) return End(room);
  absl::StatusOr<GenerateAsk> ask = CheckGenerate(request, services.limits);
  if (!ask.ok()) return End(ask.status());
  ask_ = *std::move(ask);
  const absl::StatusOr<std::string> reference = ModelReference(ask_.model, services);
  if (!reference.ok()) return End(reference.status());
  AcquireModel<EventStream>(shared_from_this(), *reference,
                            [this](const ModelPool::Acquired& model) { OnModel(model); });
}

void GenerateCall::OnModel(const ModelPool::Acquired& model) {
  if (stopped()) return;
  if (!model.ok()) return End(model.status());
  absl::StatusOr<GenerateRequest> bound = BindGenerate(
      std::move(ask_), *model, call().services().default_context, call().services().limits);
  if (!bound.ok()) return End(bound.status());
  bound->request_id = call().request_id();
  bound->tenant = std::string(call().tenant());
  bound->deadline = deadline_;
  call().prompt_tokens = static_cast<int64_t>(bound->prompt.size());
  tokenizer_ = bound->model->tokenizer;
  // The start message goes first, and only when the engine has taken the request.
  Hold();
  Push(StartMessage(*bound));
  const auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
  Engine& engine = call().services().engine;
  const absl::Status status = call().Submit([&] { return engine.Submit(*std::move(bound), self); });
  if (!status.ok()) return Cut(status);
  Release();
}

bool GenerateCall::OnToken(TokenEvent event) {
  call().completion_tokens = event.index + 1;
  return Push(TokenMessage(event, *tokenizer_));
}

void GenerateCall::OnEnd(GenerateEnd end) {
  if (end.status.ok()) {
    call().completion_tokens = end.completion_tokens;
    EndWith(EndMessage(end));
  } else {
    End(end.status);
  }
}

}  // namespace lfm2
