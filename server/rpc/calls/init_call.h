// One InitModel: runs a job and sends its progress, its report and the model that it made. The job
// continues when the client disconnects.
#pragma once

#include "lfm2/v1/models.pb.h"
#include "server/rpc/calls/job_follower.h"

namespace lfm2 {

class InitCall final : public JobFollower {
 public:
  using JobFollower::JobFollower;
  void Start(const v1::InitModelRequest& request);
  bool resumable() const override { return true; }

 protected:
  void OnJobEvent(const JobEvent& event) override;
  void OnJobOver(const Job& job) override;

 private:
  absl::StatusOr<Job> Submit(const v1::InitModelRequest& request);
};

}  // namespace lfm2
