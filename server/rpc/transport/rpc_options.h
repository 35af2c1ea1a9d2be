// Where the gRPC server listens, and which clients it accepts. Thread rule: plain data.
#pragma once

#include <string>

namespace lfm2 {

struct RpcOptions {
  std::string listen = "127.0.0.1:7070";  // host:port (port 0 picks one) or unix:PATH
  std::string tls_cert_file, tls_key_file;
  std::string tls_client_ca_file;  // mutual TLS when set
  std::string tokens_file;  // bearer tokens as SHA-256 with scopes; see server/rpc/transport/auth.h
  bool insecure_i_know = false;  // allow listening beyond loopback without TLS and tokens
  bool reflection = true;
};

}  // namespace lfm2
