// Whether there is a model that answers requests. Where the configuration names a default model,
// that one must: it is loaded at the start, without waiting for a request, and must make a token; a
// model that is absent or broken is tried again. Otherwise any model will do, in memory or on disk,
// where it waits for its first use. Thread rule: one thread looks. Ownership: borrows; a load or a
// self-test may end after this object is gone.
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

  // default_model: as ModelPool::Acquire's reference; "": none. Tried every `retry_ms`.
  Readiness(const Parts& parts, std::string default_model, int64_t retry_ms);

  // Call about once a second: true while a model answers. Once the default model has answered, it
  // stays so: whether the engine goes on is the watchdog's question.
  bool Look();

 private:
  struct Trial;  // of the default model, shared with its load and its self-test

  bool HasModel() const;

  const Parts parts_;
  const std::string default_model_;
  const std::chrono::milliseconds retry_;
  const std::shared_ptr<Trial> trial_;
  SteadyTime next_look_;
  bool has_model_ = false;  // at the last look
};

}  // namespace lfm2
