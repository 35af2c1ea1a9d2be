// One WatchJob: sends a job's events, starting at a given number. Ends after the job's last event.
#pragma once

#include "lfm2/v1/training.pb.h"
#include "server/rpc/calls/job_follower.h"

namespace lfm2 {

class WatchCall final : public JobFollower {
 public:
  using JobFollower::JobFollower;
  void Start(const v1::WatchJobRequest& request);
  bool resumable() const override { return true; }

 protected:
  void OnJobEvent(const JobEvent& event) override;
  void OnJobOver(const Job& job) override;
};

}  // namespace lfm2
