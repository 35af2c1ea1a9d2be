// One Export: runs a job, sends its progress, then its files in chunks as fast as the client reads.
// The job is cancelled when the client disconnects; the files are released when they have been sent
// or the client has gone.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lfm2/v1/models.pb.h"
#include "server/rpc/calls/job_follower.h"

namespace lfm2 {

class ExportCall final : public JobFollower {
 public:
  using JobFollower::JobFollower;
  void Start(const v1::ExportRequest& request);

 protected:
  void OnJobEvent(const JobEvent& event) override;
  void OnJobOver(const Job& job) override;
  bool MakeNext() override;
  void OnStopped() override;

 private:
  enum class Phase { kIdle, kJob, kFiles, kClosed };
  absl::StatusOr<Job> Submit(const v1::ExportRequest& request);
  // False when the call was closed meanwhile: the caller must then release what it just acquired.
  bool Enter(Phase phase) LFM2_EXCLUDES(phase_mutex_);
  Phase phase() LFM2_EXCLUDES(phase_mutex_);
  // Releases what the current phase holds, once.
  void CleanUp() LFM2_EXCLUDES(phase_mutex_);
  void SendHeader();
  void SendChunk();

  std::string job_id_;  // set before the phase is kJob
  std::vector<ExportedFile> files_;
  std::filesystem::path directory_;
  size_t file_ = 0;   // index of the file being sent
  int64_t sent_ = 0;  // bytes of that file sent so far
  bool open_ = false;
  std::ifstream in_;
  std::string chunk_;

  Mutex phase_mutex_;
  Phase phase_ LFM2_GUARDED_BY(phase_mutex_) = Phase::kIdle;
};

}  // namespace lfm2
