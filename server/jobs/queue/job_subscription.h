// A watcher's hold on a job's events. The destructor waits for a call of the watcher's function
// that is running (unless it is made from inside it): hold no lock then that the function takes.
#pragma once

namespace lfm2 {

class JobSubscription {
 public:
  virtual ~JobSubscription() = default;
};

}  // namespace lfm2
