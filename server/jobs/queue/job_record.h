// A job as the job store holds it. Thread rule: plain data.
#pragma once

#include <cstdint>

#include "server/jobs/wire/job.h"

namespace lfm2 {

struct JobRecord {
  Job job;
  int64_t fencing_token = 0;  // incremented with each claim
  int64_t crashes = 0;        // since the job last progressed
  int64_t high_step = 0;      // furthest step of any attempt
  int64_t crash_step = 0;     // high_step when it last crashed
};

// Updates the record for its next event: the job's state, newest event number and time.
void ApplyEvent(const JobEvent& event, JobRecord& record);

}  // namespace lfm2
