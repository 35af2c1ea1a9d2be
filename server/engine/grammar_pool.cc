#include "server/engine/grammar_pool.h"

#include <deque>
#include <list>
#include <system_error>
#include <thread>
#include <utility>

#include "server/base/mutex.h"

namespace lfm2 {
namespace {
using Time = std::chrono::steady_clock::time_point;
}  // namespace

struct GrammarPool::State {
  explicit State(const Options& given) : options(given) {}

  const Options options;
  Mutex mutex;
  CondVar changed;
  std::deque<std::function<void()>> queue LFM2_GUARDED_BY(mutex);
  std::list<Time> busy_since LFM2_GUARDED_BY(mutex);  // one for each thread that works
  int threads LFM2_GUARDED_BY(mutex) = 0;
  bool closed LFM2_GUARDED_BY(mutex) = false;

  int Stuck() const LFM2_REQUIRES(mutex) {
    int stuck = 0;
    const Time now = std::chrono::steady_clock::now();
    for (const Time since : busy_since) stuck += now - since >= options.stuck_after ? 1 : 0;
    return stuck;
  }
};

GrammarPool::GrammarPool(const Options& options) : state_(std::make_shared<State>(options)) {}

GrammarPool::~GrammarPool() {
  MutexLock lock(state_->mutex);
  state_->closed = true;
  state_->queue.clear();
  state_->changed.NotifyAll();
}

GrammarPool& GrammarPool::Shared() {
  static GrammarPool* const pool = new GrammarPool(Options());
  return *pool;
}

bool GrammarPool::Run(std::function<void()> work) {
  State& state = *state_;
  {
    MutexLock lock(state.mutex);
    const Options& options = state.options;
    const int stuck = state.Stuck();
    const bool idle = static_cast<int>(state.busy_since.size()) < state.threads;
    const bool may_grow =
        state.threads - stuck < options.threads && state.threads < options.threads + options.spare;
    if (!idle && !may_grow && stuck == state.threads) return false;
    if (state.queue.size() >= options.queue) return false;
    if (!idle && may_grow) {
      try {
        std::thread([shared = state_] { Work(shared); }).detach();
        ++state.threads;
      } catch (const std::system_error&) {
        if (state.threads == 0) return false;
      }
    }
    state.queue.push_back(std::move(work));
  }
  state.changed.NotifyOne();
  return true;
}

void GrammarPool::Work(const std::shared_ptr<State>& state) {
  while (true) {
    std::function<void()> work;
    std::list<Time>::iterator mine;
    {
      MutexLock lock(state->mutex);
      while (state->queue.empty() && !state->closed) state->changed.Wait(state->mutex);
      if (state->closed) return;
      work = std::move(state->queue.front());
      state->queue.pop_front();
      state->busy_since.push_front(std::chrono::steady_clock::now());
      mine = state->busy_since.begin();
    }
    work();
    work = nullptr;
    MutexLock lock(state->mutex);
    state->busy_since.erase(mine);
  }
}

}  // namespace lfm2
