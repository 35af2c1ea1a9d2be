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
  ~App();
  std::string address() const;
  // The GPU no longer answers this process, so the program has to end. Any thread.
  bool gpu_lost() const;
  // Refuses new calls, waits the configured time for open calls and jobs, then ends them. Returns
  // at most a few seconds after that.
  void Drain();
  void EndNow();  // a running Drain stops waiting

 private:
  class Impl;
  explicit App(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace lfm2
