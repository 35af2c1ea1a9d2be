// TLS credentials of the server from the configured files, checked before anything listens. Thread
// rule: pure function.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {

// Plaintext without tls_cert_file; mutual TLS with tls_client_ca_file. TLS 1.2 or newer (the
// library's minimum). kConfigInvalid: a file of the pair is missing, unreadable or not PEM, the key
// does not match the certificate or others may read it, the certificate has expired or is not valid
// yet.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const RpcOptions& options);

}  // namespace lfm2
