// Serves one text over HTTP/1.1 on this host's loopback, for a scraper: GET of one path; everything
// else is an error. One connection at a time, limited in size and time. Thread rule: Start and the
// destructor from one thread; `source` is called on the endpoint's own thread.
//
// Why not prometheus-cpp's Exposer (1.0, civetweb 1.15): it throws the same exception for a port in
// use, an unknown host and a malformed address, so errors and exit codes could not differ; stopping
// always takes 1.7 s; two silent peers block it for 30 s; it answers /metrics/x, and POST with 404;
// and it adds three metrics of its own to the page.
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
  // any other host, kConfigInvalid for an address that is malformed or cannot be bound,
  // kWrongState when another process uses it.
  static absl::StatusOr<std::unique_ptr<TextEndpoint>> Start(const std::string& listen,
                                                             const std::string& path,
                                                             Source source);
  ~TextEndpoint();
  std::string address() const;

 private:
  class Impl;
  explicit TextEndpoint(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace lfm2
