// What the files of `lfm2ctl train` share.
#pragma once

#include <CLI/CLI.hpp>

#include "absl/status/status.h"
#include "client/calls/session.h"
#include "client/calls/watch.h"

namespace lfm2 {

void AddTrainStart(CLI::App& train, Session& session);
absl::Status PrintJob(Session& session, const v1::Job& job);
// OK when the job succeeded, else FailedResult.
absl::Status JobResult(const v1::Job& job);
// Shows the events until the job has ended. Returns JobResult.
absl::Status WatchToEnd(Session& session, const WatchOptions& options);

}  // namespace lfm2
