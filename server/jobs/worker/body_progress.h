// Progress of work that goes tensor by tensor: told a few times a second, and where a stop request
// is heard.
#pragma once

#include <cstdint>
#include <functional>

#include "server/jobs/worker/worker_link.h"

namespace lfm2 {

// The function that ConvertModel and ExportModel call. Asked to stop, it ends the process with a
// stopped result: what lies aside is removed with the job's folder.
std::function<void(int64_t, int64_t)> TensorProgress(WorkerLink& link);

}  // namespace lfm2
