// The functions to call after new events of a job. Thread rule: any thread. A subscription may
// outlive this object.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/jobs/queue/job_subscription.h"

namespace lfm2 {

class JobListeners {
 public:
  JobListeners();
  // After the handle's destructor the function is not running and never runs again, except if the
  // function itself destroys the handle. So, when destroying the handle, do not hold a lock that
  // the function takes.
  std::unique_ptr<JobSubscription> Subscribe(const std::string& id,
                                             std::function<void()> on_change);
  void Notify(const std::string& id);  // call it without locks held

  struct Registry;

 private:
  std::shared_ptr<Registry> registry_;
};

}  // namespace lfm2
