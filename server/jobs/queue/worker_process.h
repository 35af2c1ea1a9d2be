// One lfm2-worker process: started with a fixed argv and its end of a socket pair as descriptor 3,
// in its own process group, below the daemon in priority and above it on the kernel's list of what
// to kill for memory. It dies with the thread that started it (PR_SET_PDEATHSIG), so that thread
// must live as long as the daemon: the supervisor's.
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
  std::filesystem::path
      log_file;  // stderr is appended; set aside as "<name>.1" when it has grown over 1 MiB
  int nice = 10;
  int64_t threads = 0;  // OMP_NUM_THREADS when not 0
};

struct WorkerExit {
  int code = 0;                  // exit status, when signal is 0
  int signal = 0;                // that ended it
  std::string Describe() const;  // "exit status 3", "signal 9 (Killed)"
};

// All that a worker sees of the daemon's environment, and how many threads its arithmetic has (0:
// as it likes), which wait without spinning.
std::vector<std::string> WorkerEnvironment(int64_t threads);

class WorkerProcess {
 public:
  // kInternal with the system's reason when the program cannot be started.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Start(const WorkerCommand& command);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  WorkerChannel& channel() { return *channel_; }
  int pidfd() const { return pidfd_; }  // readable when it has ended; -1 where the kernel has none
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
