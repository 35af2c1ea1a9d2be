#include "server/jobs/queue/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/wire/worker_socket.h"

namespace lfm2 {
namespace {

constexpr int64_t kMaxLogBytes = 1 << 20;
constexpr int kLowestSpareFd = 10;  // descriptors for the child must not be 0 to 3
constexpr unsigned kCloseRangeCloexec = 1u << 2;

// The only variables of the daemon's environment that a worker gets.
constexpr std::array kInherited = {"PATH=",
                                   "HOME=",
                                   "LANG=",
                                   "LC_ALL=",
                                   "TZ=",
                                   "TMPDIR=",
                                   "LD_LIBRARY_PATH=",
                                   "CUDA_VISIBLE_DEVICES=",
                                   "NVIDIA_",
                                   "LFM2_",
                                   "ASAN_OPTIONS=",
                                   "UBSAN_OPTIONS=",
                                   "TSAN_OPTIONS=",
                                   "LSAN_OPTIONS="};

absl::Status StartError(std::string_view what, int code) {
  return Error(Reason::kInternal,
               "a worker cannot be started: " + std::string(what) + ": " + std::strerror(code));
}

absl::StatusOr<Descriptor> Spare(Descriptor fd, std::string_view what) {
  if (fd.get() < 0) return StartError(what, errno);
  Descriptor moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, kLowestSpareFd));
  if (moved.get() < 0) return StartError(what, errno);
  return moved;
}

// Data for the child, prepared before the fork, because after it only async-signal-safe calls are
// allowed.
struct Launch {
  std::string program;
  std::vector<std::string> environment;
  std::vector<char*> argv, envp;
  Descriptor socket, null, log, report;
  pid_t parent = 0;
  int nice = 0;
};

[[noreturn]] void Fail(const Launch& launch) {
  const int code = errno;
  const ssize_t ignored = write(launch.report.get(), &code, sizeof(code));
  (void)ignored;
  _exit(127);
}

void ResetSignals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void PreferAsOomVictim() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t ignored = write(fd, "500", 3);
  (void)ignored;
  close(fd);
}

[[noreturn]] void RunChild(const Launch& launch) {
  setpgid(0, 0);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) Fail(launch);
  if (getppid() != launch.parent) _exit(127);  // the daemon died before the line above
  ResetSignals();
  if (dup2(launch.null.get(), STDIN_FILENO) < 0 || dup2(launch.null.get(), STDOUT_FILENO) < 0 ||
      dup2(launch.log.get(), STDERR_FILENO) < 0 || dup2(launch.socket.get(), kWorkerSocket) < 0) {
    Fail(launch);
  }
  // Closes descriptors that a library of the daemon opened without O_CLOEXEC. Older kernels do not
  // support this call; our own descriptors all have O_CLOEXEC.
  syscall(SYS_close_range, kWorkerSocket + 1, UINT_MAX, kCloseRangeCloexec);
  setpriority(PRIO_PROCESS, 0, launch.nice);
  PreferAsOomVictim();
  execve(launch.program.c_str(), launch.argv.data(), launch.envp.data());
  Fail(launch);
}

absl::StatusOr<Descriptor> OpenLog(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error && static_cast<int64_t>(size) > kMaxLogBytes) {
    std::filesystem::rename(path, path.string() + ".1", error);
  }
  return Spare(
      Descriptor(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640)),
      "its log");
}

absl::Status Prepare(const WorkerCommand& command, Descriptor socket, Descriptor report,
                     Launch& launch) {
  launch.program = command.program.string();
  launch.nice = command.nice;
  launch.parent = getpid();
  launch.environment = WorkerEnvironment(command.threads);
  launch.argv = {launch.program.data(), nullptr};
  for (std::string& entry : launch.environment) launch.envp.push_back(entry.data());
  launch.envp.push_back(nullptr);
  LFM2_ASSIGN_OR_RETURN(launch.socket, Spare(std::move(socket), "its socket"));
  LFM2_ASSIGN_OR_RETURN(launch.report, Spare(std::move(report), "its pipe"));
  LFM2_ASSIGN_OR_RETURN(launch.null,
                        Spare(Descriptor(open("/dev/null", O_RDWR | O_CLOEXEC)), "/dev/null"));
  LFM2_ASSIGN_OR_RETURN(launch.log, OpenLog(command.log_file));
  return absl::OkStatus();
}

// Returns 0 if the child has started its program, else its errno.
int AwaitExec(const Descriptor& pipe) {
  int code = 0;
  ssize_t got = 0;
  do {
    got = read(pipe.get(), &code, sizeof(code));
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof(code)) ? code : 0;
}

int OpenPidfd(pid_t pid) {
#ifdef SYS_pidfd_open
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
#else
  return -1;
#endif
}

}  // namespace

std::vector<std::string> WorkerEnvironment(int64_t threads) {
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    for (const std::string_view name : kInherited) {
      if (std::string_view(*entry).substr(0, name.size()) == name) environment.emplace_back(*entry);
    }
  }
  // A spinning idle OpenMP thread would take a core from the daemon, whose latency matters more.
  environment.emplace_back("OMP_WAIT_POLICY=PASSIVE");
  if (threads > 0) environment.push_back("OMP_NUM_THREADS=" + std::to_string(threads));
  return environment;
}

std::string WorkerExit::Describe() const {
  if (signal == 0) return "exit status " + std::to_string(code);
  return "signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Start(const WorkerCommand& command) {
  int sockets[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return StartError("socketpair", errno);
  }
  auto channel = std::make_unique<WorkerChannel>(sockets[0]);
  Descriptor worker_socket(sockets[1]);
  if (pipe2(pipes, O_CLOEXEC) != 0) return StartError("pipe", errno);
  const Descriptor report(pipes[0]);
  pid_t pid = -1;
  {
    Launch launch;
    LFM2_RETURN_IF_ERROR(Prepare(command, std::move(worker_socket), Descriptor(pipes[1]), launch));
    pid = fork();
    if (pid == 0) RunChild(launch);
    if (pid < 0) return StartError("fork", errno);
  }
  std::unique_ptr<WorkerProcess> process(new WorkerProcess(pid, std::move(channel)));
  if (const int code = AwaitExec(report); code != 0) return StartError("its program", code);
  return process;
}

WorkerProcess::WorkerProcess(pid_t pid, std::unique_ptr<WorkerChannel> channel)
    : pid_(pid), pidfd_(OpenPidfd(pid)), channel_(std::move(channel)) {}

WorkerProcess::~WorkerProcess() {
  if (!exit_) {
    Kill();
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  if (pidfd_ >= 0) close(pidfd_);
}

void WorkerProcess::Kill() {
  if (exit_) return;
  // The group may not exist yet directly after the fork.
  if (kill(-pid_, SIGKILL) != 0) kill(pid_, SIGKILL);
}

std::optional<WorkerExit> WorkerProcess::Reap() {
  if (exit_) return exit_;
  siginfo_t info{};
  // Not reaped until its group has been killed, because until then its process id cannot be reused.
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid != pid_) {
    return std::nullopt;
  }
  kill(-pid_, SIGKILL);
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  exit_ =
      WIFSIGNALED(status) ? WorkerExit{0, WTERMSIG(status)} : WorkerExit{WEXITSTATUS(status), 0};
  return exit_;
}

}  // namespace lfm2
