#pragma once
// The TLS settings of both ends of a client connection: only TLS 1.3 and ALPN "parley/1", no session
// cache, no tickets.
#include "protocol/values/errors.hpp"
#include "protocol/values/renewable.hpp"

#include <tl/expected.hpp>

#include <memory>
#include <string>

typedef struct ssl_ctx_st SSL_CTX;

namespace parley::transport {

inline constexpr char alpn_protocol[] = "parley/1";
inline constexpr char login_exporter_label[] = "EXPORTER-parley-login";

struct tls_fault {
  ec code{};          ///< bad_config: a file is missing, unreadable, or does not fit the others
  std::string detail; ///< for the operator: which file, and OpenSSL's reason
};

/// All connections of a process share it. Thread: any.
using tls_context = std::shared_ptr<SSL_CTX>;
/// One that is replaced when certificates are renewed.
using renewable_tls = renewable<SSL_CTX>;

struct server_tls {
  std::string certificate_file; ///< PEM: the certificate, then its chain
  std::string key_file;         ///< PEM, not encrypted
};

struct client_tls {
  std::string ca_file; ///< PEM: the only authorities that are trusted
};

tl::expected<tls_context, tls_fault> make_server_context(const server_tls& files);
tl::expected<tls_context, tls_fault> make_client_context(const client_tls& files);

} // namespace parley::transport
