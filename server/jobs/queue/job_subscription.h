// A watcher's subscription to a job's events. The destructor waits for a running call of the
// watcher's function (except when called from inside it), so do not hold a lock that the function
// takes.
#pragma once

namespace lfm2 {

class JobSubscription {
 public:
  virtual ~JobSubscription() = default;
};

}  // namespace lfm2
