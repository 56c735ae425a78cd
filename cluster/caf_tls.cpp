#include "cluster/caf_tls.hpp"

#include "cluster/logging.hpp"

#include <dlfcn.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string_view>

// CAF 0.17.6 calls OpenSSL without emptying the thread's error queue first, and SSL_get_error believes what
// it finds there: one connection that fails (a probe that only looks whether somebody listens is enough)
// makes the next harmless "try again" of every other connection look fatal, and a node that cannot reach one
// peer keeps losing the others. So the four calls that CAF makes come here first: a definition in the program
// goes before the library's.
namespace {

template <class F>
F next_definition(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

} // namespace

extern "C" {
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
  return real(ssl, to, size);
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
