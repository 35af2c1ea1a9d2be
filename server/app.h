// The daemon: makes every object once, in order, and destroys them in reverse.
// Thread rule: Start, Drain and the destructor from one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace lfm2 {

class App {
 public:
  // kConfigInvalid, kInsecureBind, kDeviceUnavailable, kWrongState (another daemon has the
  // data_dir; the message names it).
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerConfig& config);
  virtual ~App() = default;
  virtual std::string address() const = 0;
  // The GPU answers this process no more, so that the program has to end. Any thread.
  virtual bool gpu_lost() const = 0;
  // Refuses new calls, lets open ones and jobs come to an end within the configured time, then ends
  // them.
  virtual void Drain() = 0;
};

}  // namespace lfm2
