#include "protocol/gateway/crypto.hpp"

#include "protocol/values/limits.hpp"
#include "protocol/values/sha256.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
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

std::string random_ticket(chance& dice) {
  std::string ticket(code_ticket_bytes, '\0');
  dice.fill({reinterpret_cast<std::uint8_t*>(ticket.data()), ticket.size()});
  return ticket;
}

body_hash hash_of_ticket(std::string_view ticket) {
  return sha256(ticket);
}

body_hash hash_of_code(std::string_view ticket, std::string_view phone, std::string_view code) {
  return sha256({ticket, phone, std::string_view{"\0", 1}, code});
}

core::asker asker_of(std::string_view phone, const network_keys& from) {
  std::string widest;
  for (const auto& network : from)
    if (network) // they are in the order of their sizes
      widest = std::to_string(number(*network));
  const auto hash = sha256({phone, std::string_view{"\0", 1}, widest});
  const auto n = static_cast<std::uint16_t>(hash[0] << 8 | hash[1]);
  return core::asker{n != 0 ? n : std::uint16_t{1}};
}

body_hash hash_of_key(std::span<const std::uint8_t, 32> key) {
  return sha256({reinterpret_cast<const char*>(key.data()), key.size()});
}

device_id device_of_key(std::span<const std::uint8_t, 32> key) {
  const auto hash = hash_of_key(key);
  std::uint64_t id = 0;
  std::memcpy(&id, hash.data(), sizeof id);
  return device_id{id != 0 ? id : 1};
}

bool is_weak_ed25519(std::span<const std::uint8_t, 32> key) {
  using bytes = std::array<std::uint8_t, 32>;
  const auto near_p = [](std::uint8_t lowest) { // p = 2^255 - 19, little-endian, and its neighbours
    bytes y;
    y.fill(0xff);
    y.front() = lowest;
    y.back() = 0x7f;
    return y;
  };
  // The y of all points whose order divides 8, below 2^255. 0 and 1 have a second spelling there: p and
  // p + 1.
  static const std::array<bytes, 7> small{
      bytes{},
      bytes{1},
      bytes{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
      bytes{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
      near_p(0xec),
      near_p(0xed),
      near_p(0xee)};
  bytes y;
  std::copy(key.begin(), key.end(), y.begin());
  y.back() &= 0x7f; // the sign of x
  return std::find(small.begin(), small.end(), y) != small.end();
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
