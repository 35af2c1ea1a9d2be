// Training: converts requests to job specs, and jobs and their events to messages. Thread rule:
// pure functions, except that TrainJob reads the stores.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "lfm2/v1/training.pb.h"
#include "server/jobs/wire/job.h"
#include "server/rpc/transport/request_check.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

// Unset options get TrainSpec's defaults, an unset device the daemon's. Reports all violations at
// once, then looks up sources and datasets. kModelNotFound, kDatasetNotFound, kMessageTooLarge.
absl::StatusOr<JobSpec> TrainJob(const v1::StartTrainingRequest& request,
                                 const ServiceContext& services);

// nullopt when unspecified. An unknown number is a violation.
std::optional<JobState> CheckJobState(v1::JobState state, RequestCheck& check);

v1::Job ToProto(const Job& job);
v1::JobEvent ToProto(const JobEvent& event);
v1::TrainPlan ToProto(const TrainPlan& plan);
v1::Dataset ToProto(const DatasetInfo& info);

}  // namespace lfm2
