#include "server/rpc/calls/export_call.h"

#include <algorithm>

#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/jobs/wire/job_messages.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_models.h"

namespace lfm2 {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

}  // namespace

bool ExportCall::Enter(Phase phase) {
  MutexLock lock(phase_mutex_);
  if (phase_ == Phase::kClosed) return false;
  phase_ = phase;
  return true;
}

ExportCall::Phase ExportCall::phase() {
  MutexLock lock(phase_mutex_);
  return phase_;
}

void ExportCall::CleanUp() {
  Phase left;
  {
    MutexLock lock(phase_mutex_);
    left = std::exchange(phase_, Phase::kClosed);
  }
  JobQueue* const jobs = call().services().jobs;
  if (left == Phase::kFiles) jobs->ReleaseExport(job_id_);
  if (left != Phase::kJob) return;
  const absl::StatusOr<Job> cancelled = jobs->Cancel(job_id_);
  if (!cancelled.ok() && DetailsOf(cancelled.status()).reason != Reason::kWrongState) {
    Log(LogLevel::kWarning, "an export without a client could not be cancelled",
        {{"job", job_id_}, {"error", std::string(cancelled.status().message())}});
  }
}

void ExportCall::OnStopped() {
  // Cancel and ReleaseExport use the disk, so they run in this reaction only when the executor is
  // full.
  const auto self = std::static_pointer_cast<ExportCall>(shared_from_this());
  if (!call().services().executor.Run([self] { self->CleanUp(); }).ok()) CleanUp();
}

absl::StatusOr<Job> ExportCall::Submit(const v1::ExportRequest& request) {
  LFM2_ASSIGN_OR_RETURN(JobQueue* const jobs, JobsOf(call().services()));
  LFM2_ASSIGN_OR_RETURN(const JobSpec spec, ExportJob(request, call().services()));
  return jobs->Submit(call().principal(), request.request_id(), spec);
}

void ExportCall::Start(const v1::ExportRequest& request) {
  if (stopped()) return;
  const absl::StatusOr<Job> job = Submit(request);
  if (!job.ok()) return End(job.status());
  job_id_ = job->id;
  JobQueue& jobs = *call().services().jobs;
  if (!Enter(Phase::kJob)) {
    // The client disconnected while the job was being stored. An error means that the job has
    // already ended.
    (void)jobs.Cancel(job_id_);
    return;
  }
  v1::ExportResponse named;
  named.set_job_id(job_id_);
  Push(named);
  Follow(jobs, job_id_, 1);
}

void ExportCall::OnJobEvent(const JobEvent& event) {
  const auto* progress = std::get_if<Progress>(&event.body);
  if (progress == nullptr) return;
  v1::ExportResponse out;
  *out.mutable_progress() = ToProto(*progress);
  Push(out);
}

void ExportCall::OnJobOver(const Job& job) {
  if (const absl::Status outcome = OutcomeOf(job); !outcome.ok()) {
    Enter(Phase::kClosed);
    return End(outcome);
  }
  JobQueue& jobs = *call().services().jobs;
  absl::StatusOr<std::filesystem::path> directory = jobs.ExportDirectory(job.id);
  if (!directory.ok()) {
    Enter(Phase::kClosed);
    return End(directory.status());
  }
  directory_ = *std::move(directory);
  files_ = job.files;
  if (!Enter(Phase::kFiles)) return jobs.ReleaseExport(job.id);
}

bool ExportCall::MakeNext() {
  if (phase() != Phase::kFiles) return false;
  if (file_ < files_.size()) {
    open_ ? SendChunk() : SendHeader();
    return true;
  }
  v1::ExportResponse out;
  for (const ExportedFile& file : files_) *out.mutable_done()->add_files() = ToProto(file);
  EndWith(out);
  CleanUp();
  return false;
}

void ExportCall::SendHeader() {
  const ExportedFile& file = files_[file_];
  in_ = std::ifstream(directory_ / file.name, std::ios::binary);
  if (!in_) return Cut(Error(Reason::kStorageIoError, "\"" + file.name + "\" cannot be opened"));
  sent_ = 0;
  open_ = file.bytes > 0;
  if (!open_) ++file_;
  v1::ExportResponse out;
  *out.mutable_file() = ToProto(file);
  Push(out);
}

void ExportCall::SendChunk() {
  const ExportedFile& file = files_[file_];
  const int64_t bytes = std::min(kChunkBytes, file.bytes - sent_);
  chunk_.resize(static_cast<size_t>(bytes));
  if (!in_.read(chunk_.data(), bytes)) {
    return Cut(Error(Reason::kStorageIoError, "\"" + file.name + "\" ended after " +
                                                  std::to_string(sent_ + in_.gcount()) +
                                                  " bytes of " + std::to_string(file.bytes)));
  }
  sent_ += bytes;
  if (sent_ == file.bytes) {
    open_ = false;
    ++file_;
  }
  v1::ExportResponse out;
  out.set_chunk(chunk_);
  Push(out);
}

}  // namespace lfm2
