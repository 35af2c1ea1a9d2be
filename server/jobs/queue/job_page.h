// A page of a list of jobs. Thread rule: plain data.
#pragma once

#include <string>
#include <vector>

#include "server/jobs/wire/job.h"

namespace lfm2 {

struct JobPage {
  std::vector<Job> jobs;  // newest first
  std::string next_page_token;
};

}  // namespace lfm2
