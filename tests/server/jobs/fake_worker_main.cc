// A worker that does what the label "script" of its job says, word by word:
//   steps:N           N steps from where the job's folder says it got to, a checkpoint after each
//   crash             SIGKILL to itself
//   crash_once:NAME   the same, the first time only
//   exit:N            ends with that status and no result
//   hang              stops itself with SIGSTOP
//   hang_once:NAME    the same, the first time only
//   hold              steps until it is asked to stop, then a checkpoint and a stopped result
//   deaf              steps for ever, whatever it is asked
//   idle              no step, until it is asked to stop
//   fail:REASON       a failed result
//   garbage           bytes that are no message
//   model             writes job_dir/result
//   export            writes job_dir/export/data
//   notes:N           N notes as fast as they go
//   pid               its process id into job_dir/pid
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/errors.h"
#include "server/jobs/worker/worker_program.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

class Script {
 public:
  Script(const Order& order, WorkerLink& link) : order_(order), link_(link), dir_(order.job_dir) {}

  WorkerResult Run() {
    std::istringstream words(order_.spec.labels.at("script"));
    std::string word;
    while (!done_ && words >> word) {
      const size_t colon = word.find(':');
      Do(word.substr(0, colon), colon == std::string::npos ? "" : word.substr(colon + 1));
    }
    return result_;
  }

 private:
  void Do(const std::string& verb, const std::string& value) {
    if (verb == "steps") return Steps(std::stoi(value));
    if (verb == "crash" || (verb == "crash_once" && First(value))) raise(SIGKILL);
    if (verb == "exit") _exit(std::stoi(value));
    if (verb == "hang" || (verb == "hang_once" && First(value))) raise(SIGSTOP);
    if (verb == "hold") return Hold();
    if (verb == "deaf") {
      while (true) Step();
    }
    if (verb == "idle") return Idle();
    if (verb == "fail") return Fail(value);
    if (verb == "garbage") send(kWorkerSocket, "\xff\xff\xff\xff____", 8, MSG_NOSIGNAL);
    if (verb == "model") Write(dir_ / "result" / "config.json", "{}");
    if (verb == "export") {
      Write(dir_ / "export" / "data", "exported");
      result_.files = {{"data", 8, "0123"}};
    }
    if (verb == "notes") {
      for (int i = 0; i < std::stoi(value); ++i) link_.OnNote("note " + std::to_string(i));
    }
    if (verb == "pid") Write(dir_ / "pid", std::to_string(getpid()));
  }

  // Only the first of the job's attempts to come by.
  bool First(const std::string& name) {
    const fs::path mark = dir_ / name;
    if (fs::exists(mark)) return false;
    Write(mark, "");
    return true;
  }

  void Step() {
    std::ifstream in(dir_ / "step");
    int64_t step = 0;
    in >> step;
    ++step;
    link_.OnStep({step, 1.0 / static_cast<double>(step), 0.1, 1, 10, 100, 1});
    Write(dir_ / "step", std::to_string(step));
    poll(nullptr, 0, 1);
  }

  void Steps(int count) {
    for (int i = 0; i < count; ++i) {
      Step();
      Checkpoint();
    }
  }

  void Checkpoint() {
    std::ifstream in(dir_ / "step");
    int64_t step = 0;
    in >> step;
    link_.OnCheckpoint(
        {step, "ckpt-" + std::to_string(step) + "-" + std::to_string(order_.fencing_token)});
  }

  void Hold() {
    while (!link_.StopRequested()) Step();
    Checkpoint();
    Stopped();
  }

  void Idle() {
    while (!link_.StopRequested()) poll(nullptr, 0, 1);
    Stopped();
  }

  void Stopped() {
    result_.stopped = true;
    done_ = true;
  }

  void Fail(const std::string& reason) {
    result_.status = Error(ReasonByName(reason).value_or(Reason::kInternal), "as the script says");
    done_ = true;
  }

  static void Write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    const fs::path aside = path.string() + ".tmp";
    std::ofstream(aside) << text;
    fs::rename(aside, path);
  }

  const Order& order_;
  WorkerLink& link_;
  const fs::path dir_;
  WorkerResult result_;
  bool done_ = false;
};

}  // namespace
}  // namespace lfm2

int main() {
  return lfm2::RunWorker([](const lfm2::Order& order, lfm2::WorkerLink& link) {
    lfm2::WorkerResult result = lfm2::Script(order, link).Run();
    result.tokenizer_kind = "bytes";
    result.tokenizer_sha256 = "abcd";
    return result;
  });
}
