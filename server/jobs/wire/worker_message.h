// The messages between the daemon and a worker as plain data; codec.{h,cc} encodes them.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "server/jobs/wire/job.h"

namespace lfm2 {

// The first message to a worker: everything that it needs.
struct Order {
  std::string job_id;
  int64_t fencing_token = 0;
  std::string job_dir;
  std::map<std::string, std::string> dataset_paths;  // "sha256:<hex>" to its file
  JobSpec spec;
  std::chrono::milliseconds heartbeat{2'000};
  std::chrono::milliseconds lease{10'000};
};

struct StopRequest {};

// Answer to a heartbeat: the fencing token that may publish.
struct LeaseGrant {
  int64_t token = 0;
};

using ToWorker = std::variant<Order, StopRequest, LeaseGrant>;

struct Heartbeat {};

// The worker's last message. A train or init job's model is in job_dir/result, an export's files
// are in job_dir/export.
struct WorkerResult {
  absl::Status status;
  std::vector<ExportedFile> files;
  bool stopped = false;  // ended by a stop request; its checkpoint is kept
  std::string tokenizer_sha256, tokenizer_kind;
};

using FromWorker = std::variant<Heartbeat, JobEventBody, WorkerResult>;

}  // namespace lfm2
