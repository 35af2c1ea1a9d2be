#include "server/jobs/queue/job_queue.h"

#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/queue/job_ledger.h"
#include "server/jobs/queue/supervisor.h"
#include "server/jobs/wire/job_folder.h"

namespace lfm2 {
namespace {

std::map<std::string, std::string> DatasetPaths(const DatasetStore& datasets, const JobSpec& spec) {
  std::map<std::string, std::string> paths;
  for (const auto* files : {&spec.datasets, &spec.source.files, &spec.tokenizer.files}) {
    for (const NamedFile& file : *files)
      paths[file.dataset] = datasets.FileOf(file.dataset).string();
  }
  return paths;
}

class JobQueueImpl : public JobQueue {
 public:
  JobQueueImpl(JobQueueOptions options, ModelStore& models, DatasetStore& datasets, Clock& clock)
      : options_(std::move(options)), models_(models), datasets_(datasets), clock_(clock) {}
  ~JobQueueImpl() override { Shutdown(options_.stop_grace); }

  absl::Status Start(const Limits& limits) {
    LFM2_ASSIGN_OR_RETURN(
        ledger_,
        JobLedger::Open(
            {options_.data_dir, limits, {options_.retry_base, options_.crashes_to_quarantine}},
            clock_));
    SupervisorHooks hooks;
    hooks.publish = [this](const JobClaim& claim, const WorkerResult& result) {
      return Publish(claim, result);
    };
    hooks.dataset_paths = [this](const JobSpec& spec) { return DatasetPaths(datasets_, spec); };
    LFM2_ASSIGN_OR_RETURN(supervisor_,
                          Supervisor::Start(options_, *ledger_, std::move(hooks), clock_));
    return absl::OkStatus();
  }

  absl::StatusOr<Job> Submit(const std::string& principal, const std::string& request_id,
                             const JobSpec& spec) override {
    absl::StatusOr<Job> job = ledger_->Submit(principal, request_id, spec);
    if (job.ok()) supervisor_->Wake();
    return job;
  }

  absl::StatusOr<Job> Get(const std::string& id) override { return ledger_->Get(id); }

  absl::StatusOr<JobPage> List(std::optional<JobState> state, int page_size,
                               const std::string& page_token) override {
    return ledger_->List(state, page_size, page_token);
  }

  absl::StatusOr<Job> Cancel(const std::string& id) override {
    absl::StatusOr<Job> job = ledger_->Cancel(id);
    if (job.ok()) supervisor_->Wake();
    return job;
  }

  absl::StatusOr<std::vector<JobEvent>> ReadEvents(const std::string& id, int64_t from_seq,
                                                   int max) override {
    return ledger_->ReadEvents(id, from_seq, max);
  }

  std::unique_ptr<Subscription> Subscribe(const std::string& id,
                                          std::function<void()> on_change) override {
    return ledger_->listeners().Subscribe(id, std::move(on_change));
  }

  absl::StatusOr<std::filesystem::path> ExportDirectory(const std::string& id) override {
    LFM2_ASSIGN_OR_RETURN(const Job job, ledger_->Get(id));
    if (job.spec.kind != JobKind::kExport || job.state != JobState::kSucceeded) {
      return Error(Reason::kWrongState,
                   "job " + id + " is not a finished export: " + JobKindName(job.spec.kind) + ", " +
                       JobStateName(job.state));
    }
    const std::filesystem::path directory = ledger_->JobDirectory(id) / kExportFolder;
    MutexLock lock(exports_mutex_);
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      return Error(Reason::kFileNotFound,
                   "the files of export " + id + " have been removed: export again");
    }
    ++export_readers_[id];
    return directory;
  }

  void ReleaseExport(const std::string& id) override {
    MutexLock lock(exports_mutex_);
    const auto readers = export_readers_.find(id);
    if (readers == export_readers_.end() || --readers->second > 0) return;
    export_readers_.erase(readers);
    RemoveExport(ledger_->JobDirectory(id));
  }

  absl::Status worker_status() override { return supervisor_->worker_status(); }

  void Shutdown(std::chrono::milliseconds timeout) override {
    if (ledger_ != nullptr) ledger_->Drain();
    if (supervisor_ != nullptr) supervisor_->Stop(timeout);
  }

 private:
  absl::StatusOr<std::string> Publish(const JobClaim& claim, const WorkerResult& result) {
    ModelManifest manifest;
    manifest.created_at_ms = clock_.UnixMillis();
    manifest.made_from = claim.spec.source.name;
    manifest.job_id = claim.id;
    manifest.tokenizer_sha256 = result.tokenizer_sha256;
    manifest.tokenizer_kind = result.tokenizer_kind;
    LFM2_ASSIGN_OR_RETURN(const ModelVersion version,
                          models_.Publish(ledger_->JobDirectory(claim.id) / kResultFolder,
                                          claim.spec.model_name, manifest));
    return version.version;
  }

  const JobQueueOptions options_;
  ModelStore& models_;
  DatasetStore& datasets_;
  Clock& clock_;
  std::unique_ptr<JobLedger> ledger_;
  std::unique_ptr<Supervisor> supervisor_;  // ends before the ledger

  Mutex exports_mutex_;
  std::map<std::string, int> export_readers_ LFM2_GUARDED_BY(exports_mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<JobQueue>> JobQueue::Open(JobQueueOptions options,
                                                         const Limits& limits, ModelStore& models,
                                                         DatasetStore& datasets, Clock& clock) {
  auto queue = std::make_unique<JobQueueImpl>(std::move(options), models, datasets, clock);
  LFM2_RETURN_IF_ERROR(queue->Start(limits));
  return queue;
}

}  // namespace lfm2
