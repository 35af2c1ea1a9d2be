#include "server/rpc/generate_call.h"

#include <algorithm>

#include "model/core/status_macros.h"
#include "server/rpc/convert.h"
#include "server/rpc/convert_generation.h"

namespace lfm2 {

SteadyTime GenerateCall::Deadline() {
  const Limits& limits = call().services().limits;
  const SteadyTime now = call().services().clock.Now();
  const SteadyTime client = call().ClientDeadline();
  if (client == SteadyTime::max()) {
    return now + std::chrono::milliseconds(limits.generate_timeout_ms);
  }
  return std::min(client, now + std::chrono::milliseconds(limits.generate_timeout_max_ms));
}

absl::StatusOr<GenerateRequest> GenerateCall::Prepare(const v1::GenerateRequest& request) {
  const ServiceContext& services = call().services();
  const SteadyTime deadline = Deadline();
  LFM2_ASSIGN_OR_RETURN(GenerateAsk ask, CheckGenerate(request, services.limits));
  LFM2_ASSIGN_OR_RETURN(const std::string reference, ModelReference(ask.model, services));
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<LoadedModel> model, services.models.Acquire(reference));
  LFM2_ASSIGN_OR_RETURN(GenerateRequest bound,
                        BindGenerate(std::move(ask), std::move(model), services.default_context));
  bound.request_id = call().request_id();
  bound.tenant = std::string(call().tenant());
  bound.deadline = deadline;
  return bound;
}

void GenerateCall::Start(const v1::GenerateRequest& request) {
  if (stopped()) return;
  absl::StatusOr<GenerateRequest> bound = Prepare(request);
  if (!bound.ok()) return End(bound.status());
  call().prompt_tokens = static_cast<int64_t>(bound->prompt.size());
  tokenizer_ = bound->model->tokenizer;
  // The start message goes first, and only when the engine has taken the request.
  Hold();
  Push(StartMessage(*bound));
  const auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
  if (absl::Status status = call().services().engine.Submit(*std::move(bound), self);
      !status.ok()) {
    return Cut(status);
  }
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
