#pragma once
// Limits per network address, in bounded memory.
#include "actors/core/recently_seen.hpp"
#include "actors/core/token_bucket.hpp"
#include "protocol/values/types.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
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
/// How many times the room of one address these have. A household or a phone has one IPv6 /64, a customer a /56 or /48.
/// Behind an IPv4 address, and in the /24 around it, there are many customers.
inline constexpr std::array<std::int64_t, networks_of_an_address> rooms_of_networks{1, 4, 16, 16};
/// What a network may take of something of which all together have `all`, and one address `address`: not more than
/// half, so that one network, however many addresses it has, leaves the others as much.
constexpr std::int64_t room_of_network(std::size_t kind, std::int64_t address, std::int64_t all) {
  return std::min(address * rooms_of_networks[kind], std::max(all / 2, address));
}

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
      : fresh_{burst, every}, full_after_{burst * every}, buckets_{addresses_max} {}

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
  /// Forgets addresses whose buckets are full again by now, which is as if they had never been seen. To be called now and
  /// then.
  void age(core::token_bucket::time_point now) {
    if (now - aged_at_ < full_after_)
      return;
    aged_at_ = now;
    buckets_.age();
  }
  std::size_t remembered() const { return buckets_.size(); }
  /// What `who` was admitted to did not happen.
  void give_back(address_key who) { buckets_.find(who, fresh_).give_back(); }

private:
  core::token_bucket fresh_;
  std::chrono::nanoseconds full_after_;
  core::token_bucket::time_point aged_at_{};
  core::recently_seen<address_key, core::token_bucket> buckets_;
};

/// The same for an address and the networks that it belongs to.
class network_limits {
public:
  /// Of one address, and of all together: no network has more than half of these.
  struct rates {
    std::int64_t burst = 0;
    std::chrono::nanoseconds every{};
    std::int64_t all_burst = 0;
    std::chrono::nanoseconds all_every{};
  };
  network_limits(const rates& r, std::size_t addresses_max)
      : of_{of(0, r, addresses_max), of(1, r, addresses_max), of(2, r, addresses_max),
            of(3, r, addresses_max)} {}

  /// False: `who` has to wait, and has taken nothing.
  bool admit(const network_keys& who, core::token_bucket::time_point now) {
    for (std::size_t i = 0; i < of_.size(); ++i)
      if (who[i] && of_[i].wait(*who[i], now).count() > 0)
        return false;
    for (std::size_t i = 0; i < of_.size(); ++i)
      if (who[i])
        of_[i].admit(*who[i], now);
    return true;
  }

  void age(core::token_bucket::time_point now) {
    for (auto& kind : of_)
      kind.age(now);
  }
  std::size_t remembered() const {
    std::size_t n = 0;
    for (const auto& kind : of_)
      n += kind.remembered();
    return n;
  }

private:
  static address_limits of(std::size_t kind, const rates& r, std::size_t addresses_max) {
    return {room_of_network(kind, r.burst, r.all_burst),
            std::max(r.every / rooms_of_networks[kind], std::min(r.all_every * 2, r.every)), addresses_max};
  }
  std::array<address_limits, networks_of_an_address> of_;
};

} // namespace parley::gateway
