#include "cluster/links/peer_tls.hpp"

#include "cluster/links/link_identity.hpp"
#include "cluster/ops/logging.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>

namespace parley::cluster {
namespace {

constexpr int reads_per_look = 16;
constexpr std::size_t read_bytes = 64 << 10; ///< one piece: four full records

} // namespace

tl::expected<peer_tls_context, std::string> peer_tls_context::load(const std::string& cert_file,
                                                                   const std::string& key_file,
                                                                   const std::string& ca_file) {
  ERR_clear_error();
  const std::shared_ptr<ssl_ctx_st> context{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  auto* c = context.get();
  if (!c || SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 ||
      SSL_CTX_use_certificate_chain_file(c, cert_file.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(c, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_locations(c, ca_file.c_str(), nullptr) != 1) {
    ERR_clear_error();
    return tl::unexpected(fmt::format("OpenSSL does not take {}, {} and {}", cert_file, key_file, ca_file));
  }
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, peer_tls_session::on_verified);
  // Connections between nodes are long-lived, so session tickets would not be used.
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(c, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_default_read_buffer_len(c, read_bytes);
  peer_tls_context out;
  out.context_ = context;
  return out;
}

peer_tls_session::peer_tls_session(const peer_tls_context& context, int fd, side which)
    : ssl_{SSL_new(context.now().get()), SSL_free}, fd_{fd} {
  auto* bio = new_bio();
  if (!ssl_ || !bio)
    throw std::bad_alloc{};
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (which == side::caller)
    SSL_set_connect_state(ssl_.get());
  else
    SSL_set_accept_state(ssl_.get());
}

peer_tls_session::~peer_tls_session() = default;

bool peer_tls_session::established() const {
  return SSL_is_init_finished(ssl_.get()) == 1;
}

void peer_tls_session::begin_reading() {
  looks_left_ = reads_per_look;
}

bool peer_tls_session::holds_more() const {
  return SSL_has_pending(ssl_.get()) == 1;
}

peer_tls_session::outcome peer_tls_session::handshake() {
  // OpenSSL reports any error in the thread's queue as its own, so the queue must be empty.
  ERR_clear_error();
  return outcome_of(SSL_do_handshake(ssl_.get()));
}

peer_tls_session::result peer_tls_session::read(char* to, std::size_t size) {
  ERR_clear_error();
  std::size_t n = 0;
  const auto what = outcome_of(SSL_read_ex(ssl_.get(), to, size, &n));
  if (what != outcome::some || frames_.follow({to, n}))
    return {what, n};
  refuse_frame();
  return {outcome::over};
}

peer_tls_session::result peer_tls_session::write(const char* from, std::size_t size) {
  ERR_clear_error();
  std::size_t n = 0;
  const auto what = outcome_of(SSL_write_ex(ssl_.get(), from, size, &n));
  return {what, n};
}

transport::socket_owner::permission peer_tls_session::before_read() {
  if (looks_left_ == 0)
    return permission::postponed;
  --looks_left_;
  return permission::granted;
}

void peer_tls_session::after_read(std::size_t bytes, std::size_t bytes_max) {
  if (bytes < bytes_max)
    looks_left_ = 0; // the socket is empty; the next `begin_reading` finds an end or an error
}

peer_tls_session::outcome peer_tls_session::outcome_of(int returned) {
  if (returned == 1)
    return outcome::some;
  switch (SSL_get_error(ssl_.get(), returned)) {
  case SSL_ERROR_WANT_READ:
    return outcome::none_yet;
  case SSL_ERROR_WANT_WRITE:
    // A new socket accepts a whole handshake: a peer that fills it before that gets no connection.
    return established() ? outcome::none_yet : outcome::over;
  case SSL_ERROR_SSL:
    remember_fault();
    [[fallthrough]];
  default:
    ERR_clear_error();
    return outcome::over;
  }
}

/// Called by OpenSSL for each certificate of the peer's chain. It changes nothing: OpenSSL forgets a certificate
/// that it refuses, and the operator has to know whose it was.
int peer_tls_session::on_verified(int accepted, X509_STORE_CTX* state) {
  const auto* certificate = X509_STORE_CTX_get_current_cert(state);
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(state, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* session = ssl ? static_cast<peer_tls_session*>(SSL_get_app_data(ssl)) : nullptr;
  if (session && certificate && X509_STORE_CTX_get_error_depth(state) == 0)
    session->named_ = node_named_in(certificate);
  return accepted;
}

/// Called while the errors of the failed step are still in OpenSSL's queue.
void peer_tls_session::remember_fault() {
  const auto code = ERR_peek_last_error();
  if (fault_ || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
    return;
  const auto verified = SSL_get_verify_result(ssl_.get());
  const auto* reason = ERR_reason_error_string(code);
  fault_ = {named_,
            verified != X509_V_OK ? X509_verify_cert_error_string(verified)
            : reason              ? reason
                                  : "unknown",
            verified != X509_V_OK};
  // Strangers can cause the one kind of line as often as they like, so they do not displace the other.
  static log::limiter of_nodes{std::chrono::seconds{10}}, of_strangers{std::chrono::seconds{10}};
  const auto left_out = (named_ ? of_nodes : of_strangers).admit();
  if (left_out < 0)
    return;
  log::warn(
      "peer-tls-failed",
      {{"certificate_of", named_.value_or(node_id::none)},
       {"host", peer_host()},
       {"why", fault_->why},
       {"left_out", left_out},
       {"next", fault_->ours
                    ? "renew the certificate of that node (scripts/make_certs.sh) and send it SIGHUP"
                    : "if the other side refused a certificate, renew this node's and send it SIGHUP"}});
}

std::string peer_tls_session::peer_host() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "unknown";
  if (getpeername(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

/// The peer has a certificate of a node, because the handshake succeeded: the log line names the node.
void peer_tls_session::refuse_frame() {
  // CAF keeps a failed socket until everything it has to write is sent; it must not send to such a peer.
  ::shutdown(fd_, SHUT_RDWR);
  static log::limiter refusals{std::chrono::seconds{1}};
  const auto left_out = refusals.admit();
  if (left_out < 0)
    return;
  log::warn("frame-refused", {{"certificate_of", named_.value_or(node_id::none)},
                              {"host", peer_host()},
                              {"bytes_announced", frames_.announced()},
                              {"bytes_max", caf_payload_bytes_max},
                              {"left_out", left_out}});
}

} // namespace parley::cluster
