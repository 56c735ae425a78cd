#pragma once
// Limits per network address, in bounded memory.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>

namespace parley::gateway {

/// An IPv4 address, or the /64 of an IPv6 address: what one customer of a provider has.
enum class address_key : std::uint64_t {};

inline address_key key_of(const sockaddr_storage& a) {
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a).sin6_addr;
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::memcpy(&high, v6.s6_addr, sizeof high);
    std::memcpy(&low, v6.s6_addr + 8, sizeof low);
    return address_key{IN6_IS_ADDR_V4MAPPED(&v6) ? mix64(low >> 32) : mix64(high + 1)};
  }
  return address_key{mix64(reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr)};
}

/// The networks that an address belongs to: the address as `key_of` has it, IPv6 /56, IPv6 /48, IPv4 /24.
inline constexpr std::size_t networks_of_an_address = 4;
using network_keys = std::array<std::optional<address_key>, networks_of_an_address>;

inline network_keys networks_of(const sockaddr_storage& a) {
  network_keys keys{key_of(a)};
  std::array<std::uint8_t, 16> bytes{};
  bool v6 = a.ss_family == AF_INET6;
  if (v6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(a).sin6_addr;
    v6 = !IN6_IS_ADDR_V4MAPPED(&six);
    std::memcpy(bytes.data(), six.s6_addr + (v6 ? 0 : 12), v6 ? 16 : 4);
  } else {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr, 4);
  }
  const auto prefix = [&](std::size_t size) {
    std::uint64_t n = size; // keys of different lengths differ
    for (std::size_t i = 0; i < size; ++i)
      n = n << 8 | bytes[i];
    return address_key{mix64(n + 1)};
  };
  if (v6) {
    keys[1] = prefix(7);
    keys[2] = prefix(6);
  } else {
    keys[3] = prefix(3);
  }
  return keys;
}

/// A token bucket for each address, for at most `addresses_max` of them.
class address_limits {
public:
  address_limits(std::int64_t burst, std::chrono::nanoseconds every, std::size_t addresses_max)
      : fresh_{burst, every}, buckets_{addresses_max} {}

  /// Zero if `who` is admitted, else how long to wait.
  std::chrono::nanoseconds admit(address_key who, core::token_bucket::time_point now) {
    auto& bucket = buckets_.find(who, fresh_);
    if (bucket.take(now))
      return std::chrono::nanoseconds{0};
    return bucket.wait(now);
  }
  /// How long until `admit` admits `who`.
  std::chrono::nanoseconds wait(address_key who, core::token_bucket::time_point now) {
    return buckets_.find(who, fresh_).wait(now);
  }

private:
  core::token_bucket fresh_;
  core::recently_seen<address_key, core::token_bucket> buckets_;
};

} // namespace parley::gateway
