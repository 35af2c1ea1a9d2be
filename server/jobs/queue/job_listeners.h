// Who wants to know of new events of a job. Thread rule: any thread. A subscription may outlive the
// listeners.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/jobs/queue/job_subscription.h"

namespace lfm2 {

class JobListeners {
 public:
  JobListeners();
  // After the handle's destructor the function is not running and never runs again, unless it is
  // the function that destroys the handle. So a caller must hold no lock that the function takes
  // while it destroys the handle.
  std::unique_ptr<JobSubscription> Subscribe(const std::string& id,
                                             std::function<void()> on_change);
  void Notify(const std::string& id);  // hold no lock

  struct Registry;

 private:
  std::shared_ptr<Registry> registry_;
};

}  // namespace lfm2
