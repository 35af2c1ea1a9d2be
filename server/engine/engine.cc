#include "server/engine/engine.h"

#include <utility>

#include "server/engine/engine_loop.h"

namespace lfm2 {

Engine::Engine(const Limits& limits, Clock& clock)
    : speculative_tokens_(limits.speculative_tokens),
      loop_(std::make_unique<EngineLoop>(limits, clock)) {}
Engine::~Engine() = default;

absl::Status Engine::CheckRoom(std::string_view tenant) { return loop_->CheckRoom(tenant); }

absl::Status Engine::Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink) {
  return loop_->Submit(std::make_unique<Sequence>(std::move(request), std::move(sink), loop_->Now(),
                                                  speculative_tokens_));
}

absl::Status Engine::Submit(ModelTask task) { return loop_->Submit(std::move(task)); }
bool Engine::Drain(std::chrono::milliseconds timeout) { return loop_->Drain(timeout); }
void Engine::Stop() { loop_->Stop(); }
void Engine::SetGpuLost() { loop_->SetGpuLost(); }
EngineStats Engine::stats() const { return loop_->stats(); }
EngineProgress Engine::progress() const { return loop_->progress(); }
Metrics& Engine::metrics() { return loop_->metrics(); }

}  // namespace lfm2
