// Progress of work that goes tensor by tensor: reported a few times per second; also checks for a
// stop request.
#pragma once

#include <cstdint>
#include <functional>

#include "server/jobs/worker/worker_link.h"

namespace lfm2 {

// Makes the function that ConvertModel and ExportModel call. After a stop request it ends the
// process with a stopped result; temporary files are removed with the job's folder.
std::function<void(int64_t, int64_t)> TensorProgress(WorkerLink& link);

}  // namespace lfm2
