// The daemon: makes every object once, in order, and destroys them in reverse.
// Thread rule: Start, Drain and the destructor from one thread; EndNow from any.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/app/config.h"

namespace lfm2 {

class App {
 public:
  // What Start would say of the configuration, without binding and without the data_dir.
  static absl::Status Check(const ServerConfig& config);
  // kConfigInvalid, kInsecureBind, kDeviceUnavailable, kWrongState (another daemon has the
  // data_dir; the message names it).
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerConfig& config);
  virtual ~App() = default;
  virtual std::string address() const = 0;
  // The GPU answers this process no more, so that the program has to end. Any thread.
  virtual bool gpu_lost() const = 0;
  // Refuses new calls, lets open ones and jobs come to an end within the configured time, then ends
  // them: no more than a few seconds later it returns.
  virtual void Drain() = 0;
  virtual void EndNow() = 0;  // a Drain that waits waits no longer
};

}  // namespace lfm2
