#include "server/rpc/calls/generate_call.h"

#include "server/rpc/calls/convert.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

// Cheap refusals come first: the full queue is checked before any text is tokenized.
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
  services.models.AcquireThen(*reference, services.loads, Resume(),
                              [this](const ModelPool::Acquired& model) { OnModel(model); });
}

void GenerateCall::OnModel(const ModelPool::Acquired& model) {
  if (stopped()) return;
  if (!model.ok()) return End(model.status());
  const std::optional<GrammarSource> structure = std::move(ask_.structure);
  absl::StatusOr<GenerateRequest> bound =
      BindGenerate(std::move(ask_), *model, call().services().default_context);
  if (!bound.ok()) return End(bound.status());
  request_ = *std::move(bound);
  request_.request_id = call().request_id();
  request_.tenant = std::string(call().tenant());
  request_.deadline = deadline_;
  call().prompt_tokens = static_cast<int64_t>(request_.prompt.size());
  tokenizer_ = request_.model->tokenizer;
  structure ? AskForGrammar(*structure) : Submit();
}

// A grammar may take long to compile, so no thread waits for it.
void GenerateCall::AskForGrammar(const GrammarSource& source) {
  const std::shared_ptr<LoadedModel> model = request_.model;  // Submit may run before Get returns
  const Limits& limits = call().services().limits;
  request_.grammar_step = std::chrono::milliseconds(limits.grammar_step_ms);
  const auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
  model->grammars->Get({model->tokenizer, model->config.vocab_size, model->EndIds()}, source,
                       limits, request_.tenant,
                       [self](const GrammarCache::Result& grammar) { self->OnGrammar(grammar); });
}

void GenerateCall::OnGrammar(const GrammarCache::Result& grammar) {
  const std::scoped_lock lock(posting_);
  if (stopped()) return;
  OnWorker([this, grammar] {
    if (stopped()) return;
    if (!grammar.ok()) return End(grammar.status());
    request_.grammar = *grammar;
    Submit();
  });
}

// Waits for a running OnGrammar; later ones return early. So the executor may then be destroyed.
void GenerateCall::OnStopped() { const std::scoped_lock lock(posting_); }

void GenerateCall::Submit() {
  GenerateRequest request = std::move(request_);
  // The start message is sent first, and only after the engine has accepted the request.
  Hold();
  Push(StartMessage(request));
  const auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
  Engine& engine = call().services().engine;
  const absl::Status status =
      call().Submit([&] { return engine.Submit(std::move(request), self); });
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
