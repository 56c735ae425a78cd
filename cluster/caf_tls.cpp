#include "cluster/caf_tls.hpp"

#include "cluster/caf_frames.hpp"
#include "cluster/link_identity.hpp"
#include "cluster/logging.hpp"

#include <dlfcn.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>
#include <string_view>

// The calls that CAF 0.17.6 makes to OpenSSL come here first: a definition in the program goes before the
// library's. Two things are put right on their way.
//
// The error queue. CAF calls without emptying the thread's queue first, and SSL_get_error believes what it
// finds there: one connection that fails (a probe that only looks whether somebody listens is enough) makes
// the next harmless "try again" of every other connection look fatal, and a node that cannot reach one peer
// keeps losing the others.
//
// The size of a frame. CAF sets aside what a frame's header announces, up to 4 GiB, before a byte of it came;
// filling that with zeros also keeps its one network thread from all other peers. So what CAF reads is
// followed, and a header that announces too much never reaches it: the read fails instead, and CAF gives up
// the connection as it does when any read fails.
//
// KJ's TLS and curl call SSL_read too, and must not be followed. What tells CAF's sessions apart is
// SSL_set_fd: the others, and our own message stream, give OpenSSL a BIO and never the socket itself.
namespace {

using namespace parley;
using parley::cluster::frame_follower;

template <class F>
F next_definition(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

/// Where an SSL keeps its follower, which is freed with it.
int follower_slot() {
  static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr,
                                               [](void*, void* follower, CRYPTO_EX_DATA*, int, long, void*) {
                                                 delete static_cast<frame_follower*>(follower);
                                               });
  return slot;
}

bool follow_frames_of(SSL* ssl) {
  if (SSL_get_ex_data(ssl, follower_slot()))
    return true;
  auto follower = std::make_unique<frame_follower>(cluster::caf_payload_bytes_max);
  if (SSL_set_ex_data(ssl, follower_slot(), follower.get()) != 1)
    return false;
  follower.release();
  return true;
}

/// Whoever gets here has a node's certificate, or it would not have got past the handshake: say whose.
void log_refusal(SSL* ssl, std::uint32_t announced) {
  static log::limiter refusals{std::chrono::seconds{1}};
  const auto left_out = refusals.admit();
  if (left_out < 0)
    return;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "unknown";
  if (getpeername(SSL_get_fd(ssl), reinterpret_cast<sockaddr*>(&address), &size) == 0)
    getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  const auto* certificate = SSL_get0_peer_certificate(ssl);
  const auto node = certificate ? cluster::node_named_in(certificate) : std::nullopt;
  log::warn("frame-refused", {{"certificate_of", node.value_or(node_id::none)},
                              {"host", std::string_view{host}},
                              {"bytes_announced", announced},
                              {"bytes_max", cluster::caf_payload_bytes_max},
                              {"left_out", left_out}});
}

/// Fails a read, as a broken record would.
int refuse(SSL* ssl, std::uint32_t announced) {
  log_refusal(ssl, announced);
  // CAF keeps a socket that failed until what it still has to write has left: not to such a peer.
  ::shutdown(SSL_get_fd(ssl), SHUT_RDWR);
  ERR_raise(ERR_LIB_SSL, SSL_R_EXCESSIVE_MESSAGE_SIZE);
  return -1;
}

} // namespace

extern "C" {
int SSL_set_fd(SSL* ssl, int fd) {
  static const auto real = next_definition<int (*)(SSL*, int)>("SSL_set_fd");
  // CAF does not look at the answer; but without a socket no handshake succeeds.
  return follow_frames_of(ssl) ? real(ssl, fd) : 0;
}
int SSL_accept(SSL* ssl) {
  static const auto real = next_definition<int (*)(SSL*)>("SSL_accept");
  ERR_clear_error();
  return real(ssl);
}
int SSL_connect(SSL* ssl) {
  static const auto real = next_definition<int (*)(SSL*)>("SSL_connect");
  ERR_clear_error();
  return real(ssl);
}
int SSL_read(SSL* ssl, void* to, int size) {
  static const auto real = next_definition<int (*)(SSL*, void*, int)>("SSL_read");
  ERR_clear_error();
  const int n = real(ssl, to, size);
  auto* follower = static_cast<frame_follower*>(SSL_get_ex_data(ssl, follower_slot()));
  if (n <= 0 || !follower || follower->follow({static_cast<const char*>(to), static_cast<std::size_t>(n)}))
    return n;
  return refuse(ssl, follower->announced());
}
int SSL_write(SSL* ssl, const void* from, int size) {
  static const auto real = next_definition<int (*)(SSL*, const void*, int)>("SSL_write");
  ERR_clear_error();
  return real(ssl, from, size);
}
}

namespace parley::cluster {

void require_tls_1_3() {
  static constexpr std::string_view text =
      "openssl_conf = parley\n[parley]\nssl_conf = parley_ssl\n[parley_ssl]\n"
      "system_default = parley_tls\n[parley_tls]\nMinProtocol = TLSv1.3\n";
  OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG,
                      nullptr); // the machine's own settings first, so that ours stay
  CONF* conf = NCONF_new(nullptr);
  BIO* in = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
  long line = 0;
  if (NCONF_load_bio(conf, in, &line) != 1 || CONF_modules_load(conf, nullptr, 0) != 1)
    log::warn("tls-1.3-not-enforced-between-nodes");
  BIO_free(in);
  NCONF_free(conf);
}

} // namespace parley::cluster
