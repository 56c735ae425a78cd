#include "protocol/transport/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>

namespace parley::transport {
namespace {

/// The first one that both know is taken. All are as strong as the handshake, whose curves and keys have 128 bits.
/// With SHA-256, which processors have instructions for, a handshake costs a server less than with SHA-384. A client
/// that names ChaCha20 first has no instructions for AES, so it gets that.
constexpr const char* server_suites =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

/// As ALPN sends it: a length, then the name.
constexpr unsigned char alpn_list[] = "\x08parley/1";
constexpr unsigned alpn_size = sizeof alpn_list - 1;
static_assert(sizeof alpn_protocol - 1 == alpn_size - 1);

tls_fault fault(const std::string& what) {
  const auto first = ERR_peek_error(), last = ERR_peek_last_error();
  // Of a file that cannot be read the first error is the system's, and the last one says only that it was that.
  const char* reason = first != 0 && ERR_SYSTEM_ERROR(first) ? std::strerror(ERR_GET_REASON(first))
                       : last != 0                           ? ERR_reason_error_string(last)
                                                             : nullptr;
  ERR_clear_error();
  return {ec::bad_config, reason != nullptr ? what + ": " + reason : what};
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned offered_size, void*) {
  for (unsigned i = 0; i + 1 + offered[i] <= offered_size; i += 1u + offered[i]) {
    if (i + alpn_size <= offered_size && std::memcmp(offered + i, alpn_list, alpn_size) == 0) {
      *out = offered + i + 1;
      *out_size = offered[i];
      return SSL_TLSEXT_ERR_OK;
    }
    if (i + 1u + offered[i] >= offered_size)
      break;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

tls_context make(const SSL_METHOD* method) {
  ERR_clear_error();
  tls_context context{SSL_CTX_new(method), [](SSL_CTX* c) { SSL_CTX_free(c); }};
  if (!context)
    return context;
  auto* c = context.get();
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  // An idle connection keeps no buffers of 16 KiB. Buffers for output may grow and move between two tries
  // of a write.
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Without read-ahead each record costs two reads: one for its header, one for its body.
  SSL_CTX_set_read_ahead(c, 1);
  return context;
}

} // namespace

tl::expected<tls_context, tls_fault> make_server_context(const server_tls& files) {
  auto context = make(TLS_server_method());
  if (!context)
    return tl::unexpected(fault("TLS cannot be set up"));
  auto* c = context.get();
  if (SSL_CTX_use_certificate_chain_file(c, files.certificate_file.c_str()) != 1)
    return tl::unexpected(fault("certificate " + files.certificate_file));
  if (SSL_CTX_use_PrivateKey_file(c, files.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return tl::unexpected(fault("key " + files.key_file));
  if (SSL_CTX_check_private_key(c) != 1)
    return tl::unexpected(fault("key " + files.key_file + " does not belong to " + files.certificate_file));
  SSL_CTX_set_alpn_select_cb(c, choose_protocol, nullptr);
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (SSL_CTX_set_ciphersuites(c, server_suites) != 1)
    return tl::unexpected(fault("TLS cannot be set up"));
  return context;
}

tl::expected<tls_context, tls_fault> make_client_context(const client_tls& files) {
  auto context = make(TLS_client_method());
  if (!context)
    return tl::unexpected(fault("TLS cannot be set up"));
  auto* c = context.get();
  if (SSL_CTX_load_verify_locations(c, files.ca_file.c_str(), nullptr) != 1)
    return tl::unexpected(fault("certificate authority " + files.ca_file));
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_alpn_protos(c, alpn_list, alpn_size) != 0)
    return tl::unexpected(fault("ALPN cannot be set"));
  return context;
}

} // namespace parley::transport
