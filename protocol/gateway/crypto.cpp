#include "protocol/gateway/crypto.hpp"

#include "protocol/values/limits.hpp"
#include "protocol/values/sha256.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <cstring>
#include <memory>

namespace parley::gateway {
namespace {

/// How many there are.
constexpr std::uint64_t codes = [] {
  std::uint64_t n = 1;
  for (std::size_t i = 0; i < code_digits; ++i)
    n *= 10;
  return n;
}();

} // namespace

std::string random_code(chance& dice) {
  auto v = dice.below(codes);
  std::string code(code_digits, '0');
  for (auto digit = code.rbegin(); digit != code.rend(); ++digit, v /= 10)
    *digit = static_cast<char>('0' + v % 10);
  return code;
}

body_hash hash_of_code(std::string_view phone, std::string_view code) {
  return sha256({phone, std::string_view{"\0", 1}, code});
}

device_id device_of_key(std::span<const std::uint8_t, 32> key) {
  const auto hash = sha256({reinterpret_cast<const char*>(key.data()), key.size()});
  std::uint64_t id = 0;
  std::memcpy(&id, hash.data(), sizeof id);
  return device_id{id != 0 ? id : 1};
}

bool verify_ed25519(std::span<const std::uint8_t, 32> key, std::string_view message,
                    std::span<const std::uint8_t> signature) {
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> public_key{
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()), &EVP_PKEY_free};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  const bool ok =
      signature.size() == login_signature_bytes && public_key && context &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, public_key.get()) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                       reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

} // namespace parley::gateway
