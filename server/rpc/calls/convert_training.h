// Training: requests to job specs, jobs and their events to messages. Thread rule: pure functions,
// the stores apart (TrainJob).
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "lfm2/v1/training.pb.h"
#include "server/jobs/wire/job.h"
#include "server/rpc/transport/request_check.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

// Unset options take TrainSpec's defaults, an unset device the daemon's. All violations at once;
// then the sources and datasets are looked up. kModelNotFound, kDatasetNotFound, kMessageTooLarge.
absl::StatusOr<JobSpec> TrainJob(const v1::StartTrainingRequest& request,
                                 const ServiceContext& services);

// Unspecified: absent. An unknown number is a violation.
std::optional<JobState> CheckJobState(v1::JobState state, RequestCheck& check);

v1::Job ToProto(const Job& job);
v1::JobEvent ToProto(const JobEvent& event);
v1::Progress ToProto(const Progress& progress);
v1::TrainPlan ToProto(const TrainPlan& plan);
v1::Dataset ToProto(const DatasetInfo& info);

}  // namespace lfm2
