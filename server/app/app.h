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
  // The error that Start would return for this configuration, without binding or opening data_dir.
  static absl::Status Check(const ServerConfig& config);
  // kConfigInvalid, kInsecureBind, kDeviceUnavailable, kWrongState (another daemon has the
  // data_dir; the message names it).
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerConfig& config);
  virtual ~App() = default;
  virtual std::string address() const = 0;
  // The GPU no longer answers this process, so the program has to end. Any thread.
  virtual bool gpu_lost() const = 0;
  // Refuses new calls, waits the configured time for open calls and jobs, then ends them. Returns
  // at most a few seconds after that.
  virtual void Drain() = 0;
  virtual void EndNow() = 0;  // a running Drain stops waiting
};

}  // namespace lfm2
