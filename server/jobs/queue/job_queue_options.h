// How a job queue runs its workers. Thread rule: plain data.
#pragma once

#include <chrono>
#include <filesystem>

namespace lfm2 {

struct JobQueueOptions {
  std::filesystem::path data_dir;
  std::filesystem::path worker_program;  // lfm2-worker
  int train_slots = 1;                   // training jobs at once
  int short_slots = 2;                   // init and export jobs at once
  std::chrono::milliseconds heartbeat{2'000};
  std::chrono::milliseconds lease{10'000};
  // From a worker's start to its first heartbeat. LibTorch is loaded before that, which can take
  // longer than a lease on a busy machine.
  std::chrono::milliseconds start_grace{60'000};
  std::chrono::milliseconds stop_grace{30'000};  // from a stop request to SIGKILL
  std::chrono::milliseconds retry_base{1'000};   // doubled with each attempt, at most 60 s
  int crashes_to_quarantine = 3;                 // at the same step
  int nice = 10;                                 // of a worker, so that serving goes first
};

}  // namespace lfm2
