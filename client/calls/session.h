// One run of the command line: the global flags, the console, and the connection, which is made
// when a verb first needs it. Thread rule: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/calls/client.h"
#include "client/terminal/console.h"

namespace lfm2 {

class Session {
 public:
  Session(Console& session_console, Interrupts& session_interrupts)
      : console(session_console), interrupts(session_interrupts) {}

  // Returns the same client each time. ConfigError, also for an environment_problem.
  absl::StatusOr<Client*> Connect() {
    if (!environment_problem.empty()) return ConfigError(environment_problem);
    if (client_ == nullptr) {
      absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options, interrupts);
      if (!client.ok()) return client.status();
      client_ = *std::move(client);
    }
    return client_.get();
  }

  bool json() const { return output == OutputFormat::kJson; }
  bool jsonl() const { return output == OutputFormat::kJsonl; }
  bool table() const { return output == OutputFormat::kTable; }

  Console& console;
  Interrupts& interrupts;
  ClientOptions options;
  std::string environment_problem;  // why `options` may differ from what the user intended
  OutputFormat output = OutputFormat::kTable;
  bool verbose = false;
  std::function<absl::Status()> action;  // runs the given verb; set while parsing

 private:
  std::unique_ptr<Client> client_;
};

}  // namespace lfm2
