#pragma once
// Limits per network address, in bounded memory.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

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

private:
  core::token_bucket fresh_;
  core::recently_seen<address_key, core::token_bucket> buckets_;
};

} // namespace parley::gateway
