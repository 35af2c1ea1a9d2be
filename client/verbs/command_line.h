// lfm2ctl as a function: arguments in, exit code out.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "client/calls/session.h"
#include "client/terminal/console.h"
#include "client/terminal/interrupts.h"

namespace lfm2 {

struct CommandLine {
  Console& console;
  Interrupts& interrupts;
  std::string version;
};

// `arguments` without the program's name. Prints results and errors; never throws.
int RunCommandLine(const std::vector<std::string>& arguments, const CommandLine& command_line);

// All verbs and global flags.
std::unique_ptr<CLI::App> MakeApp(Session& session);

}  // namespace lfm2
