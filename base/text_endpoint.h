// Serves one text over HTTP/1.1 on this host's loopback, for a scraper: GET of one path, everything
// else is an error. One connection at a time, with bounds on its size and time. Thread rule: Start
// and the destructor from one thread; `source` is called from the endpoint's own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace lfm2 {

class TextEndpoint {
 public:
  using Source = std::function<std::string()>;

  // kInsecureBind, kConfigInvalid: see Start.
  static absl::Status CheckAddress(const std::string& listen);
  // `listen`: "127.0.0.1:9090", "[::1]:9090", "localhost:9090"; port 0 picks one. kInsecureBind for
  // any other host, kConfigInvalid for what is no address or cannot be bound,
  // kWrongState where another process has it.
  static absl::StatusOr<std::unique_ptr<TextEndpoint>> Start(const std::string& listen,
                                                             const std::string& path,
                                                             Source source);
  virtual ~TextEndpoint() = default;
  virtual std::string address() const = 0;
};

}  // namespace lfm2
