#include "server/rpc/transport/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/rpc/transport/private_file.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Bio BioOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A daemon has no terminal on which to ask for a passphrase, so an encrypted key fails to parse.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<Certificate> ParseCertificate(const char* option, const std::string& pem) {
  const Bio bio = BioOf(pem);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!certificate) {
    return Error(Reason::kConfigInvalid, std::string(option) + " holds no PEM certificate");
  }
  return certificate;
}

absl::Status CheckValidity(const X509& certificate) {
  if (X509_cmp_current_time(X509_get0_notAfter(&certificate)) <= 0) {
    return Error(Reason::kConfigInvalid, "the certificate in tls_cert has expired");
  }
  if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0) {
    return Error(Reason::kConfigInvalid, "the certificate in tls_cert is not valid yet");
  }
  return absl::OkStatus();
}

absl::Status CheckPair(const std::string& certificate_pem, const std::string& key_pem) {
  LFM2_ASSIGN_OR_RETURN(const Certificate certificate,
                        ParseCertificate("tls_cert", certificate_pem));
  const Bio bio = BioOf(key_pem);
  const PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!key) {
    return Error(Reason::kConfigInvalid, "tls_key holds no unencrypted PEM private key");
  }
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) {
    return Error(Reason::kConfigInvalid,
                 "the key in tls_key does not match the certificate in tls_cert");
  }
  return CheckValidity(*certificate);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const RpcOptions& options) {
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    return Error(Reason::kConfigInvalid, "tls_cert and tls_key go together: one is unset");
  }
  if (options.tls_cert_file.empty()) {
    if (!options.tls_client_ca_file.empty()) {
      return Error(Reason::kConfigInvalid, "tls_client_ca needs tls_cert and tls_key");
    }
    return grpc::InsecureServerCredentials();
  }
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  LFM2_ASSIGN_OR_RETURN(
      pair.cert_chain, ReadConfiguredFile("tls_cert", options.tls_cert_file, FilePrivacy::kPublic));
  LFM2_ASSIGN_OR_RETURN(pair.private_key, ReadConfiguredFile("tls_key", options.tls_key_file,
                                                             FilePrivacy::kOwnerOnly));
  LFM2_RETURN_IF_ERROR(CheckPair(pair.cert_chain, pair.private_key));
  const bool mutual = !options.tls_client_ca_file.empty();
  grpc::SslServerCredentialsOptions ssl(
      mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  if (mutual) {
    LFM2_ASSIGN_OR_RETURN(
        ssl.pem_root_certs,
        ReadConfiguredFile("tls_client_ca", options.tls_client_ca_file, FilePrivacy::kPublic));
    LFM2_RETURN_IF_ERROR(ParseCertificate("tls_client_ca", ssl.pem_root_certs).status());
  }
  ssl.pem_key_cert_pairs.push_back(std::move(pair));
  return grpc::SslServerCredentials(ssl);
}

}  // namespace lfm2
