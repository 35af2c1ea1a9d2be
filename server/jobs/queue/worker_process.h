// One lfm2-worker process. It is started with a fixed argv, with its end of a socket pair as
// descriptor 3, in its own process group, and with a lower priority than the daemon; if memory runs
// out, the kernel kills it before the daemon. It dies with the thread that started it
// (PR_SET_PDEATHSIG), so that thread, the supervisor's, must live as long as the daemon.
//
// Thread rule: the thread that called Start. The destructor kills and reaps.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/wire/worker_channel.h"

namespace lfm2 {

struct WorkerCommand {
  std::filesystem::path program;
  std::filesystem::path log_file;  // stderr is appended; renamed to "<name>.1" if larger than 1 MiB
  int nice = 10;
  int64_t threads = 0;  // OMP_NUM_THREADS unless 0
};

struct WorkerExit {
  int code = 0;                  // exit status, if signal is 0
  int signal = 0;                // the signal that ended it
  std::string Describe() const;  // "exit status 3", "signal 9 (Killed)"
};

// The part of the daemon's environment that a worker gets, plus variables for the number of OpenMP
// threads (0: the default) and for waiting without spinning.
std::vector<std::string> WorkerEnvironment(int64_t threads);

class WorkerProcess {
 public:
  // kInternal with the system's reason if the program cannot be started.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Start(const WorkerCommand& command);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  WorkerChannel& channel() { return *channel_; }
  int pidfd() const { return pidfd_; }  // readable after its end; -1 if not supported
  pid_t pid() const { return pid_; }
  void Kill();                       // SIGKILL to its process group
  std::optional<WorkerExit> Reap();  // how it ended; nullopt while it runs

 private:
  WorkerProcess(pid_t pid, std::unique_ptr<WorkerChannel> channel);

  const pid_t pid_;
  const int pidfd_;
  std::unique_ptr<WorkerChannel> channel_;
  std::optional<WorkerExit> exit_;
};

}  // namespace lfm2
