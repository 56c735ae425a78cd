#include "protocol/gateway/crypto.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace parley::gateway {

body_hash sha256(std::initializer_list<std::string_view> parts) {
  body_hash out{};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  bool ok = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const auto part : parts)
    ok = ok && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  ok = ok && EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1;
  if (!ok) {
    std::fputs("SHA-256 failed: out of memory\n", stderr);
    std::abort(); // a wrong hash would turn a retry into a conflict
  }
  return out;
}

void fill_random(std::span<std::uint8_t> out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) == 1)
    return;
  std::fputs("the system has no randomness to give\n", stderr);
  std::abort(); // a guessable challenge or code is worse than a node less
}

std::uint64_t random_nonzero() {
  std::uint64_t v = 0;
  while (v == 0)
    fill_random({reinterpret_cast<std::uint8_t*>(&v), sizeof v});
  return v;
}

std::string random_code() {
  constexpr std::uint32_t codes = 1'000'000;
  constexpr std::uint32_t unbiased_below = UINT32_MAX - UINT32_MAX % codes;
  std::uint32_t v = unbiased_below;
  while (v >= unbiased_below)
    fill_random({reinterpret_cast<std::uint8_t*>(&v), sizeof v});
  v %= codes;
  std::string code(6, '0');
  for (auto digit = code.rbegin(); digit != code.rend(); ++digit, v /= 10)
    *digit = static_cast<char>('0' + v % 10);
  return code;
}

body_hash hash_of_code(std::string_view phone, std::string_view code) {
  return sha256({phone, std::string_view{"\0", 1}, code});
}

device_id device_of_key(std::span<const std::uint8_t, 32> key) {
  const auto hash = sha256({std::string_view{reinterpret_cast<const char*>(key.data()), key.size()}});
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
      signature.size() == 64 && public_key && context &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, public_key.get()) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                       reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

} // namespace parley::gateway
