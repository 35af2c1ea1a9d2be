#include "server/engine/grammar/grammar_pool.h"

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/niceness.h"

namespace lfm2 {
namespace {

using Time = std::chrono::steady_clock::time_point;
using Work = std::function<void()>;

struct Waiting {
  Work work;
  std::string caller;
};

struct Busy {
  Time since;
  std::string caller;
  bool written_off = false;
};

}  // namespace

struct GrammarPool::State : std::enable_shared_from_this<State> {
  explicit State(const Options& given) : options(given) {}

  const Options options;
  Mutex mutex;
  CondVar changed;  // for the threads
  CondVar alarm;    // for the keeper
  std::deque<Waiting> queue LFM2_GUARDED_BY(mutex);
  std::list<Busy> busy LFM2_GUARDED_BY(mutex);
  std::multimap<Time, Work> timers LFM2_GUARDED_BY(mutex);
  int threads LFM2_GUARDED_BY(mutex) = 0;  // not counting those written off
  int written_off LFM2_GUARDED_BY(mutex) = 0;
  bool has_keeper LFM2_GUARDED_BY(mutex) = false;
  bool closed LFM2_GUARDED_BY(mutex) = false;

  bool HasIdle() const LFM2_REQUIRES(mutex) {
    return static_cast<int>(busy.size() + queue.size()) - written_off < threads;
  }
  bool Start(void (State::*body)()) LFM2_REQUIRES(mutex) {
    try {
      std::thread([self = shared_from_this(), body] { (*self.*body)(); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }
  void StartThread() LFM2_REQUIRES(mutex) { threads += Start(&State::WorkLoop) ? 1 : 0; }
  void StartKeeper() LFM2_REQUIRES(mutex) { has_keeper = has_keeper || Start(&State::KeepLoop); }

  bool MayRun(const Waiting& waiting) LFM2_REQUIRES(mutex) {
    if (!options.one_per_caller || waiting.caller.empty()) return true;
    for (const Busy& other : busy) {
      if (other.caller == waiting.caller) return false;
    }
    return true;
  }
  std::deque<Waiting>::iterator Next() LFM2_REQUIRES(mutex) {
    auto next = queue.begin();
    while (next != queue.end() && !MayRun(*next)) ++next;
    return next;
  }

  void WorkLoop() {
    BeNicer(options.nice);
    bool goes_on = true;
    while (goes_on) goes_on = RunNext();
  }

  bool RunNext() {
    Work work;
    std::list<Busy>::iterator mine;
    {
      MutexLock lock(mutex);
      auto next = Next();
      while (next == queue.end() && !closed) {
        changed.Wait(mutex);
        next = Next();
      }
      if (closed) return false;
      work = std::move(next->work);
      busy.push_front({std::chrono::steady_clock::now(), std::move(next->caller)});
      mine = busy.begin();
      queue.erase(next);
    }
    work();
    work = nullptr;
    bool goes_on = true;
    {
      MutexLock lock(mutex);
      goes_on = !mine->written_off;
      written_off -= mine->written_off ? 1 : 0;
      busy.erase(mine);
    }
    if (options.one_per_caller) changed.NotifyAll();
    return goes_on;
  }

  // The keeper thread: replaces stuck threads and runs delayed work.
  void KeepLoop() {
    MutexLock lock(mutex);
    while (!closed) {
      const Time now = std::chrono::steady_clock::now();
      if (!timers.empty() && timers.begin()->first <= now) {
        RunTimer();
        continue;
      }
      ReplaceStuck(now);
      Time until = timers.empty() ? Time::max() : timers.begin()->first;
      if (!queue.empty() && options.spare > 0) until = std::min(until, now + options.stuck_after);
      if (until == Time::max()) {
        alarm.Wait(mutex);
      } else {
        alarm.WaitFor(mutex, std::chrono::ceil<std::chrono::milliseconds>(until - now));
      }
    }
  }

  void RunTimer() LFM2_REQUIRES(mutex) {
    Work work = std::move(timers.begin()->second);
    timers.erase(timers.begin());
    mutex.Unlock();
    work();
    work = nullptr;
    mutex.Lock();
  }

  void ReplaceStuck(Time now) LFM2_REQUIRES(mutex) {
    for (Busy& one : busy) {
      if (queue.empty() || written_off >= options.spare) return;
      if (one.written_off || now - one.since < options.stuck_after) continue;
      one.written_off = true;
      ++written_off;
      --threads;
      StartThread();
    }
  }
};

GrammarPool::GrammarPool(const Options& options) : state_(std::make_shared<State>(options)) {}

GrammarPool::~GrammarPool() {
  MutexLock lock(state_->mutex);
  state_->closed = true;
  state_->queue.clear();
  state_->timers.clear();
  state_->changed.NotifyAll();
  state_->alarm.NotifyAll();
}

GrammarPool& GrammarPool::Masks() {
  static GrammarPool* const pool = new GrammarPool({.threads = 2, .spare = 6});
  return *pool;
}

GrammarPool& GrammarPool::Compiles() {
  constexpr int kNice = 5;
  static GrammarPool* const pool =
      new GrammarPool({.threads = 2, .nice = kNice, .one_per_caller = true});
  return *pool;
}

bool GrammarPool::Run(std::function<void()> work, std::string_view caller) {
  State& state = *state_;
  MutexLock lock(state.mutex);
  if (state.queue.size() >= state.options.queue) return false;
  const bool has_idle = state.HasIdle();
  if (!has_idle && state.threads < state.options.threads) state.StartThread();
  if (state.threads == 0 && state.written_off == 0) return false;
  state.queue.push_back({std::move(work), std::string(caller)});
  state.changed.NotifyOne();
  if (has_idle || state.options.spare == 0) return true;
  state.StartKeeper();
  state.alarm.NotifyOne();
  return true;
}

void GrammarPool::After(std::chrono::milliseconds delay, std::function<void()> work) {
  State& state = *state_;
  MutexLock lock(state.mutex);
  state.timers.emplace(std::chrono::steady_clock::now() + delay, std::move(work));
  state.StartKeeper();
  state.alarm.NotifyOne();
}

}  // namespace lfm2
