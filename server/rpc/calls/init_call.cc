#include "server/rpc/calls/init_call.h"

#include "base/status_macros.h"
#include "server/jobs/wire/job_messages.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_models.h"
#include "server/rpc/calls/convert_training.h"
#include "server/rpc/calls/model_info.h"

namespace lfm2 {

absl::StatusOr<Job> InitCall::Submit(const v1::InitModelRequest& request) {
  LFM2_ASSIGN_OR_RETURN(JobQueue* const jobs, JobsOf(call().services()));
  LFM2_ASSIGN_OR_RETURN(const JobSpec spec, InitJob(request, call().services()));
  return jobs->Submit(call().principal(), request.request_id(), spec);
}

void InitCall::Start(const v1::InitModelRequest& request) {
  const absl::StatusOr<Job> job = Submit(request);
  if (!job.ok()) return End(job.status());
  v1::InitModelResponse named;
  named.set_job_id(job->id);
  Push(named);
  Follow(*call().services().jobs, job->id, 1);
}

void InitCall::OnJobEvent(const JobEvent& event) {
  v1::InitModelResponse out;
  if (const auto* progress = std::get_if<Progress>(&event.body)) {
    *out.mutable_progress() = ToProto(*progress);
  } else if (const auto* report = std::get_if<ConversionReport>(&event.body)) {
    *out.mutable_report() = ToProto(*report);
  } else {
    return;
  }
  Push(out);
}

void InitCall::OnJobOver(const Job& job) {
  if (const absl::Status outcome = OutcomeOf(job); !outcome.ok()) return End(outcome);
  const absl::StatusOr<ModelVersion> version =
      call().services().model_store.Resolve(job.spec.model_name + "@" + job.result_version);
  if (!version.ok()) return End(version.status());
  absl::StatusOr<v1::Model> info = FullModelInfo(*version, call().core());
  if (!info.ok()) return End(info.status());
  v1::InitModelResponse out;
  *out.mutable_model() = *std::move(info);
  EndWith(out);
}

}  // namespace lfm2
