// Handshakes: which cipher suite they take.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>

#include <openssl/ssl.h>

using namespace parley;
using namespace parley::test;

namespace {

/// The suite that a server of ours takes if a client offers these, in this order.
std::string chosen(const char* offered) {
  const test_certificate certificate;
  const auto server =
      transport::make_server_context({certificate.certificate_file, certificate.key_file}).value();
  const auto client = transport::make_client_context({certificate.certificate_file}).value();
  REQUIRE(SSL_CTX_set_ciphersuites(client.get(), offered) == 1);
  SSL* ends[] = {SSL_new(server.get()), SSL_new(client.get())};
  SSL_set_accept_state(ends[0]);
  SSL_set_connect_state(ends[1]);
  BIO *left = nullptr, *right = nullptr;
  REQUIRE(BIO_new_bio_pair(&left, 1 << 16, &right, 1 << 16) == 1);
  SSL_set_bio(ends[0], left, left);
  SSL_set_bio(ends[1], right, right);
  for (int steps = 0; steps < 4; ++steps)
    for (auto* end : {ends[1], ends[0]})
      SSL_do_handshake(end);
  REQUIRE(SSL_is_init_finished(ends[0]) == 1);
  std::string name = SSL_get_cipher_name(ends[0]);
  for (auto* end : ends)
    SSL_free(end);
  return name;
}

} // namespace

TEST_CASE("a handshake takes the suite that costs a node least, whatever else the client prefers") {
  CHECK(chosen("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") ==
        "TLS_AES_128_GCM_SHA256");
}

TEST_CASE("a client that names ChaCha20 first has no instructions for AES, and gets it") {
  CHECK(chosen("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256") ==
        "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_CASE("a client that knows AES-256 only is served") {
  CHECK(chosen("TLS_AES_256_GCM_SHA384") == "TLS_AES_256_GCM_SHA384");
}
