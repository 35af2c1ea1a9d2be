#include "server/jobs/queue/job_listeners.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace lfm2 {
namespace {

// Recursive: a function may destroy its own handle.
struct Listener {
  explicit Listener(std::function<void()> f) : on_change(std::move(f)) {}
  std::recursive_mutex mutex;
  bool active = true;
  const std::function<void()> on_change;
};

}  // namespace

struct JobListeners::Registry {
  Mutex mutex;
  std::multimap<std::string, std::shared_ptr<Listener>> listeners LFM2_GUARDED_BY(mutex);

  void Remove(const std::string& id, const Listener* listener) LFM2_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    for (auto [it, end] = listeners.equal_range(id); it != end; ++it) {
      if (it->second.get() != listener) continue;
      listeners.erase(it);
      return;
    }
  }
};

namespace {

class Handle : public JobSubscription {
 public:
  Handle(std::shared_ptr<JobListeners::Registry> registry, std::string id,
         std::shared_ptr<Listener> listener)
      : registry_(std::move(registry)), id_(std::move(id)), listener_(std::move(listener)) {}
  ~Handle() override {
    registry_->Remove(id_, listener_.get());
    const std::lock_guard<std::recursive_mutex> lock(listener_->mutex);
    listener_->active = false;
  }

 private:
  const std::shared_ptr<JobListeners::Registry> registry_;
  const std::string id_;
  const std::shared_ptr<Listener> listener_;
};

}  // namespace

JobListeners::JobListeners() : registry_(std::make_shared<Registry>()) {}

std::unique_ptr<JobSubscription> JobListeners::Subscribe(const std::string& id,
                                                         std::function<void()> on_change) {
  auto listener = std::make_shared<Listener>(std::move(on_change));
  {
    MutexLock lock(registry_->mutex);
    registry_->listeners.emplace(id, listener);
  }
  return std::make_unique<Handle>(registry_, id, std::move(listener));
}

void JobListeners::Notify(const std::string& id) {
  std::vector<std::shared_ptr<Listener>> found;
  {
    MutexLock lock(registry_->mutex);
    for (auto [it, end] = registry_->listeners.equal_range(id); it != end; ++it)
      found.push_back(it->second);
  }
  for (const auto& listener : found) {
    const std::lock_guard<std::recursive_mutex> lock(listener->mutex);
    if (listener->active) listener->on_change();
  }
}

}  // namespace lfm2
