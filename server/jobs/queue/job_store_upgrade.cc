// Upgrades a job store from schema 1 to schema 2: rewrites specs in the current form and moves each
// job's events from the file in its folder to the store.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/queue/job_store.h"
#include "server/jobs/queue/old_event_log.h"
#include "server/jobs/wire/codec.h"
#include "server/jobs/wire/job_folder.h"
#include "server/jobs/wire/old_form.h"

namespace lfm2 {
namespace {

JobEvent LostEvent(int64_t seq) {
  return {seq, 0, Note{"event " + std::to_string(seq) + " was lost: the log was damaged"}};
}

}  // namespace

absl::Status JobStore::Upgrade(const std::filesystem::path& jobs_dir) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                        Ids("SELECT id FROM jobs ORDER BY id LIMIT ? OFFSET ?", -1, 0));
  for (const std::string& id : ids) {
    LFM2_RETURN_IF_ERROR(UpgradeSpec(id));
    LFM2_RETURN_IF_ERROR(UpgradeEvents(id, jobs_dir / id / kOldEventsFile));
  }
  return absl::OkStatus();
}

absl::Status JobStore::UpgradeSpec(const std::string& id) {
  SqliteStatement old(db_, "SELECT spec FROM jobs WHERE id=?");
  old.Text(id);
  LFM2_RETURN_IF_ERROR(old.Step("reading a job").status());
  const absl::StatusOr<JobSpec> spec = DecodeOldJobSpec(old.Bytes());
  if (!spec.ok()) {
    return Error(Reason::kJobStoreCorrupt, "the spec of job " + id + " cannot be read: " +
                                               std::string(spec.status().message()));
  }
  old.Reset();
  SqliteStatement renewed(db_, "UPDATE jobs SET spec=? WHERE id=?");
  renewed.Blob(EncodeJobSpec(*spec)).Text(id);
  return renewed.Step("changing a job").status();
}

// If the row counts an event that the file has lost, a note with its number replaces it, so that a
// number never names two events. A row that is behind its events (the program was killed in
// between) is updated.
absl::Status JobStore::UpgradeEvents(const std::string& id, const std::filesystem::path& file) {
  LFM2_ASSIGN_OR_RETURN(JobRecord record, Find(id));
  LFM2_ASSIGN_OR_RETURN(OldEventLog log, OldEventLog::Open(file));
  const int64_t known = record.job.last_seq;
  int64_t seq = 0;
  while (const std::optional<std::string_view> payload = log.Next()) {
    ++seq;
    const absl::StatusOr<JobEvent> read = DecodeOldJobEvent(*payload);
    const JobEvent event = read.ok() && read->seq == seq ? *read : LostEvent(seq);
    LFM2_RETURN_IF_ERROR(WriteEvent(id, event));
    if (seq <= known) continue;
    const int64_t updated_at_ms = record.job.updated_at_ms;
    ApplyEvent(event, record);
    record.job.updated_at_ms = std::max(record.job.updated_at_ms, updated_at_ms);
    const auto* change = std::get_if<StateChange>(&event.body);
    if (change != nullptr && change->state == JobState::kRunning) ++record.fencing_token;
  }
  while (seq < known) LFM2_RETURN_IF_ERROR(WriteEvent(id, LostEvent(++seq)));
  return seq == known ? absl::OkStatus() : WriteRow(record);
}

}  // namespace lfm2
