// lfm2-worker: one process per job, started by lfm2d.
#include "server/jobs/bodies.h"
#include "server/jobs/worker_program.h"

int main() { return lfm2::RunWorker(lfm2::RunJob); }
