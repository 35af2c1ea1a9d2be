// lfm2-worker: one process per job, started by lfm2d.
#include <signal.h>

#include "server/jobs/bodies/bodies.h"
#include "server/jobs/worker/worker_program.h"

int main() {
  signal(SIGXFSZ, SIG_IGN);  // a file over its limit is an error of write: DISK_FULL
  return lfm2::RunWorker(lfm2::RunJob);
}
