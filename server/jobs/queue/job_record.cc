#include "server/jobs/queue/job_record.h"

#include <algorithm>

namespace lfm2 {

void ApplyEvent(const JobEvent& event, JobRecord& record) {
  Job& job = record.job;
  job.last_seq = event.seq;
  job.updated_at_ms = event.at_ms;
  if (const auto* step = std::get_if<StepMetrics>(&event.body)) {
    job.step = step->step;
    job.loss = step->loss;
    job.tokens_per_second = step->tokens_per_second;
    record.high_step = std::max(record.high_step, step->step);
  } else if (const auto* checkpoint = std::get_if<CheckpointInfo>(&event.body)) {
    job.checkpoint = checkpoint->name;
  } else if (const auto* change = std::get_if<StateChange>(&event.body)) {
    job.state = change->state;
    job.attempt = change->attempt;
    job.error = IsTerminal(change->state) ? change->status : absl::OkStatus();
    job.result_version = change->result_version;
    job.files = change->files;
  }
}

}  // namespace lfm2
