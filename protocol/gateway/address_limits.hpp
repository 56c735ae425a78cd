#pragma once
// Limits per network address, in bounded memory.
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <unordered_map>

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

/// A token bucket for each address. Owns at most `addresses_max` of them: when half that many are new,
/// those that were not seen since the last such moment are forgotten.
class address_limits {
public:
  address_limits(std::int64_t burst, std::chrono::nanoseconds every, std::size_t addresses_max)
      : burst_{burst}, every_{every}, half_{addresses_max / 2} {}

  /// Zero if `who` is admitted, else how long to wait.
  std::chrono::nanoseconds admit(address_key who, core::token_bucket::time_point now) {
    auto& bucket = find(who);
    if (bucket.take(now))
      return std::chrono::nanoseconds{0};
    return bucket.wait(now);
  }

private:
  core::token_bucket& find(address_key who) {
    if (auto i = recent_.find(who); i != recent_.end())
      return i->second;
    if (recent_.size() >= half_) {
      older_ = std::move(recent_);
      recent_.clear();
    }
    auto bucket = core::token_bucket{burst_, every_};
    if (auto i = older_.find(who); i != older_.end())
      bucket = i->second;
    return recent_.emplace(who, bucket).first->second;
  }

  std::int64_t burst_;
  std::chrono::nanoseconds every_;
  std::size_t half_;
  std::unordered_map<address_key, core::token_bucket> recent_;
  std::unordered_map<address_key, core::token_bucket> older_;
};

} // namespace parley::gateway
