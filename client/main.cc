// lfm2ctl: the client of lfm2d.
#include <langinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <iostream>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/verbs/command_line.h"

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // see server/main.cc
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // write() then fails at the file size limit, and we clean up
  setenv("GRPC_VERBOSITY", "NONE", 0);  // errors are printed once, by us
  std::setlocale(LC_CTYPE, "");
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);

  auto* interrupts = new lfm2::Interrupts;  // its thread outlives main
  interrupts->CatchSignals();

  lfm2::Console console{std::cin, std::cout, std::cerr};
  console.in_is_terminal = isatty(STDIN_FILENO) != 0;
  console.out_is_terminal = isatty(STDOUT_FILENO) != 0;
  console.err_is_terminal = isatty(STDERR_FILENO) != 0;
  const char* no_color = getenv("NO_COLOR");
  console.color = console.err_is_terminal && (no_color == nullptr || *no_color == '\0');
  console.unicode = std::string(nl_langinfo(CODESET)) == "UTF-8";
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    console.columns = size.ws_col;

  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return lfm2::RunCommandLine(arguments, {console, *interrupts, LFM2_VERSION});
}
