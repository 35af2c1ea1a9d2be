// Whether a model can answer requests. If the configuration names a default model, it must be that
// one: it is loaded at the start, without waiting for a request, and must generate a token; an
// absent or broken model is tried again. Otherwise any model is enough, in memory or on disk.
// Thread rule: one thread calls Look. Ownership: borrows; a load or a self-test may end after this
// object is gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "server/engine/engine.h"
#include "server/engine/model_pool.h"
#include "server/store/model_store.h"

namespace lfm2 {

class Readiness {
 public:
  struct Parts {
    Engine& engine;
    ModelPool& models;
    const ModelStore& store;
    Executor& loads;
    Clock& clock;
  };

  // default_model: as ModelPool::Acquire's reference; "": no default model. Tried every `retry_ms`.
  Readiness(const Parts& parts, std::string default_model, int64_t retry_ms);

  // Call about once a second: true while a model can answer. Stays true after the default model has
  // answered once; the watchdog checks whether the engine still makes progress.
  bool Look();

 private:
  struct Trial;  // a try of the default model, shared with its load and self-test

  bool HasModel() const;

  const Parts parts_;
  const std::string default_model_;
  const std::chrono::milliseconds retry_;
  const std::shared_ptr<Trial> trial_;
  SteadyTime next_look_;
  bool has_model_ = false;  // at the last call of Look
};

}  // namespace lfm2
