// lfm2d: reads the configuration, starts the app, waits for a signal, drains.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/edit_distance.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/sd_notify.h"
#include "server/app/app.h"
#include "server/app/config.h"

extern char** environ;

namespace {

constexpr int kExitUsage = 2;
constexpr int kExitInternal = 70;
constexpr int kExitGpuLost = 71;    // its supervisor starts it again
constexpr int kExitTemporary = 75;  // another process has the data_dir or the address
constexpr int kExitConfig = 78;

struct CommandLine {
  lfm2::ConfigSources sources;
  bool show_config = false;
  bool check_config = false;
};

// Dashes and underscores in flag names are the same; the part after '=' stays as it is.
std::vector<std::string> Normalized(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (argument.rfind("--", 0) != 0) continue;
    for (size_t i = 2; i < argument.size() && argument[i] != '='; ++i) {
      if (argument[i] == '-') argument[i] = '_';
    }
  }
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // what CLI11 takes
  return reversed;
}

// Prints `text`; 0, or an exit code when it could not all be written.
int Print(const std::string& text) {
  errno = 0;
  std::cout << text << std::flush;
  if (std::cout.good()) return 0;
  std::cerr << "lfm2d: writing standard output: " << std::strerror(errno) << "\n";
  return kExitInternal;
}

// The first unknown argument and the closest known one, if any.
std::optional<std::string> UnknownArgument(const CLI::App& app) {
  const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
  if (rest.empty()) return std::nullopt;
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  const bool is_flag = rest.front().rfind('-', 0) == 0;
  std::vector<std::string> known;
  if (is_flag) {
    for (const lfm2::ConfigKey& key : lfm2::ConfigKeys()) known.push_back("--" + key.key);
    known.insert(known.end(), {"--config", "--version", "--help"});
  } else {
    for (const CLI::App* child : verb->get_subcommands([](const CLI::App*) { return true; })) {
      known.push_back(child->get_name());
    }
  }
  const std::string word =
      rest.front().substr(0, is_flag ? rest.front().find('=') : std::string::npos);
  const std::string problem =
      std::string("there is no ") + (is_flag ? "flag " : "verb ") + "\"" + word + "\"";
  const std::string nearest = lfm2::NearestWord(word, known);
  return nearest.empty() ? problem : problem + ": the nearest is " + nearest;
}

// Returns an exit code when the program must end at once.
std::optional<int> Parse(int argc, char** argv, CommandLine& line) {
  CLI::App app{"lfm2d: serves and trains LFM2-type models over gRPC"};
  app.set_version_flag("--version", "lfm2d " LFM2_VERSION);
  app.add_option("--config", line.sources.file, "TOML file; see configs/server.toml");
  std::map<std::string, std::string> texts;
  for (const lfm2::ConfigKey& key : lfm2::ConfigKeys()) {
    CLI::Option* option = key.is_flag ? app.add_flag("--" + key.key, texts[key.key], key.help)
                                      : app.add_option("--" + key.key, texts[key.key], key.help);
    option->each([&sources = line.sources, name = key.key](const std::string& text) {
      sources.flags[name] = text;
    });
  }
  CLI::App* config = app.add_subcommand("config", "show or check the configuration, then end");
  config->require_subcommand(1);
  config->fallthrough();
  config->add_subcommand("show", "print each value and where it came from")
      ->fallthrough()
      ->callback([&] { line.show_config = true; });
  config->add_subcommand("check", "exit 0 when the configuration is valid")
      ->fallthrough()
      ->callback([&] { line.check_config = true; });
  try {
    app.parse(Normalized(argc, argv));
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    app.exit(done, text, std::cerr);
    return Print(text.str());
  } catch (const CLI::ParseError& error) {
    const std::optional<std::string> unknown = UnknownArgument(app);
    std::cerr << "lfm2d: " << (unknown ? *unknown : error.what())
              << "\n  `lfm2d --help` lists flags and verbs.\n";
    return kExitUsage;
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const size_t equals = text.find('=');
    if (text.rfind("LFM2_", 0) != 0 || equals == std::string::npos) continue;
    line.sources.environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return std::nullopt;
}

// `json`: as a log line instead of plain text.
int Fail(const absl::Status& status, bool json = false) {
  const lfm2::ErrorDetails details = lfm2::DetailsOf(status);
  const lfm2::ReasonSpec& spec = lfm2::SpecOf(details.reason);
  if (json) {
    lfm2::Log(lfm2::LogLevel::kError, "cannot start",
              {{"cause", std::string(status.message())}, {"reason", spec.name}});
  } else {
    std::cerr << "lfm2d: " << status.message() << " (" << spec.name << ")\n";
    // The fix for kWrongState is written for callers of the service.
    if (details.reason != lfm2::Reason::kWrongState) std::cerr << "  " << spec.fix << "\n";
  }
  if (details.reason == lfm2::Reason::kWrongState) return kExitTemporary;
  return details.reason == lfm2::Reason::kInternal ? kExitInternal : kExitConfig;
}

// Waits for a signal and returns its number; 0 when the GPU is lost, which it checks every second.
int WaitForEnd(const sigset_t& signals, const lfm2::App& app) {
  constexpr timespec kSecond{1, 0};
  while (!app.gpu_lost()) {
    const int number = sigtimedwait(&signals, nullptr, &kSecond);
    if (number > 0) return number;
  }
  return 0;
}

// Waits until `app` is drained; another signal ends the open work at once.
void Drain(lfm2::App& app, const sigset_t& signals) {
  std::atomic<bool> drained{false};
  std::thread drain([&] {
    app.Drain();
    drained = true;
  });
  while (!drained) {
    const timespec look{0, 50'000'000};
    if (sigtimedwait(&signals, nullptr, &look) < 0) continue;
    lfm2::Log(lfm2::LogLevel::kWarning, "second signal: ending open calls and jobs now");
    app.EndNow();
  }
  drain.join();
}

int Run(const lfm2::ServerConfig& config) {
  lfm2::LogOptions log;
  log.json = config.log_format == "json";
  if (absl::Status status = lfm2::ParseLogLevel(config.log_level, log.level); !status.ok())
    return Fail(status);
  lfm2::SetUpLog(log);

  // Blocked before any other thread starts, so that only this thread receives them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  auto app = lfm2::App::Start(config);
  if (!app.ok()) return Fail(app.status(), log.json);
  std::cout << "listening on " << (*app)->address() << std::endl;
  lfm2::Log(lfm2::LogLevel::kInfo, "listening", {{"address", (*app)->address()}});
  lfm2::SdNotify("READY=1");

  const int signal_number = WaitForEnd(signals, **app);
  lfm2::SdNotify("STOPPING=1");
  if (signal_number == 0) {
    lfm2::Log(lfm2::LogLevel::kError, "the GPU no longer answers this process; exiting");
  } else {
    lfm2::Log(lfm2::LogLevel::kInfo, "draining", {{"signal", std::to_string(signal_number)}});
  }
  Drain(**app, signals);
  app->reset();
  lfm2::Log(lfm2::LogLevel::kInfo, "stopped");
  return signal_number == 0 ? kExitGpuLost : 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Debian builds abseil without NDEBUG: each lock that gRPC takes would be entered into a graph of
  // all locks, itself under one lock (a sixth of its threads' time in a burst of calls), and a
  // cycle found there would abort the daemon.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  signal(SIGXFSZ, SIG_IGN);             // write() then fails at the file size limit: DISK_FULL
  setenv("GRPC_VERBOSITY", "NONE", 0);  // we report its errors, once
  CommandLine line;
  if (auto code = Parse(argc, argv, line)) return *code;
  const auto loaded = lfm2::LoadConfig(line.sources);
  if (!loaded.ok()) return Fail(loaded.status());
  if (line.show_config) {
    std::ostringstream text;
    for (const lfm2::ConfigValue& value : loaded->values) {
      text << std::left << std::setw(34) << value.key << ' ' << std::setw(28)
           << (value.value.empty() ? "\"\"" : value.value) << ' ' << value.origin << '\n';
    }
    return Print(text.str());
  }
  if (line.check_config) {
    const absl::Status status = lfm2::App::Check(loaded->config);
    return status.ok() ? 0 : Fail(status);
  }
  return Run(loaded->config);
}
