#include "protocol/client/store/keys.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <memory>
#include <stdexcept>

namespace parley::client {
namespace {

struct free_openssl {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
};
using pkey = std::unique_ptr<EVP_PKEY, free_openssl>;
using md_context = std::unique_ptr<EVP_MD_CTX, free_openssl>;

pkey load(const key_pair& key) {
  pkey k{EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.secret.data(), key.secret.size())};
  if (!k)
    throw std::runtime_error{"This OpenSSL cannot use Ed25519 keys."};
  return k;
}

} // namespace

key_pair make_key() {
  key_pair key;
  if (RAND_bytes(key.secret.data(), static_cast<int>(key.secret.size())) != 1)
    throw std::runtime_error{"The system has no randomness to make a key from."};
  std::size_t size = key.open.size();
  if (EVP_PKEY_get_raw_public_key(load(key).get(), key.open.data(), &size) != 1)
    throw std::runtime_error{"This OpenSSL cannot make Ed25519 keys."};
  return key;
}

std::string make_ticket() {
  std::string ticket(code_ticket_bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(ticket.data()), static_cast<int>(ticket.size())) != 1)
    throw std::runtime_error{"The system has no randomness to make a ticket from."};
  return ticket;
}

std::array<std::uint8_t, login_signature_bytes> sign(const key_pair& key, std::string_view bytes) {
  const auto k = load(key);
  const md_context context{EVP_MD_CTX_new()};
  std::array<std::uint8_t, login_signature_bytes> out{};
  std::size_t size = out.size();
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, k.get()) != 1 ||
      EVP_DigestSign(context.get(), out.data(), &size, reinterpret_cast<const unsigned char*>(bytes.data()),
                     bytes.size()) != 1)
    throw std::runtime_error{"Signing failed."};
  return out;
}

} // namespace parley::client
