#pragma once
// How many codes, and registrations, a node's clients may ask for. Somebody who wants to ring a million phones, or to
// guess codes, has many addresses, so the networks that they belong to are bounded, too, and all of a node together.
#include "protocol/gateway/address_limits.hpp"

#include <array>
#include <mutex>
#include <optional>

namespace parley::gateway {

struct code_rates {
  std::int64_t burst = 0; ///< of one address
  std::chrono::nanoseconds every{};
  std::size_t addresses_max = 0; ///< to remember, of each kind of network
  std::int64_t node_burst = 0;   ///< of all together
  std::chrono::nanoseconds node_every{};
};

/// Owns:   token buckets of addresses, networks and the node, in bounded memory.
/// Thread: any; the servers of a process share one.
class code_limits {
public:
  /// How many times the room of one address its networks have.
  static constexpr std::int64_t room_in_56 = rooms_of_networks[1], room_in_48 = rooms_of_networks[2],
                                room_in_24 = rooms_of_networks[3];

  explicit code_limits(const code_rates& r)
      : of_{address_limits{r.burst, r.every, r.addresses_max},
            address_limits{r.burst * room_in_56, r.every / room_in_56, r.addresses_max},
            address_limits{r.burst * room_in_48, r.every / room_in_48, r.addresses_max},
            address_limits{r.burst * room_in_24, r.every / room_in_24, r.addresses_max}},
        of_wide_{wide_burst(r), r.node_every * r.node_burst / wide_burst(r), r.addresses_max},
        node_{r.node_burst, r.node_every} {}

  /// Zero if `who` is admitted, else how long to wait. Who is refused takes nothing.
  std::chrono::nanoseconds admit(const network_keys& who, core::token_bucket::time_point now) {
    std::lock_guard guard{mutex_};
    auto wait = node_.wait(now);
    if (const auto wide = widest(who))
      wait = std::max(wait, of_wide_.wait(*wide, now));
    for (std::size_t i = 0; i < of_.size(); ++i)
      if (who[i])
        wait = std::max(wait, of_[i].wait(*who[i], now));
    if (wait.count() > 0)
      return wait;
    node_.take(now);
    if (const auto wide = widest(who))
      of_wide_.admit(*wide, now);
    for (std::size_t i = 0; i < of_.size(); ++i)
      if (who[i])
        of_[i].admit(*who[i], now);
    return wait;
  }
  /// Nobody is admitted, whatever their address.
  bool node_has_none(core::token_bucket::time_point now) {
    std::lock_guard guard{mutex_};
    return node_.wait(now).count() > 0;
  }
  /// `who` was admitted, and no code was sent: the node has it for somebody else. The address and its networks have
  /// asked nevertheless, and each question costs a shard a write.
  void give_back(const network_keys& who) {
    std::lock_guard guard{mutex_};
    node_.give_back();
    if (const auto wide = widest(who))
      of_wide_.give_back(*wide);
  }

  /// As of `address_limits`.
  void age(core::token_bucket::time_point now) {
    std::lock_guard guard{mutex_};
    for (auto& kind : of_)
      kind.age(now);
    of_wide_.age(now);
  }

private:
  /// A /48 or /24 takes a quarter of what the node has, or one of them would leave nothing to all others. But not
  /// less than one address may have at once.
  static std::int64_t wide_burst(const code_rates& r) {
    return std::max(r.node_burst / 4, std::min(r.burst, r.node_burst));
  }
  static std::optional<address_key> widest(const network_keys& who) { return who[2] ? who[2] : who[3]; }

  std::mutex mutex_;
  std::array<address_limits, networks_of_an_address> of_;
  address_limits of_wide_; ///< their share of the node's
  core::token_bucket node_;
};

/// The limits of a process. Its first server sets the rates; all have the same config.
class shared_code_limits {
public:
  void begin(const code_rates& r) {
    std::call_once(once_, [&] { it_.emplace(r); });
  }
  code_limits& get() { return *it_; } ///< once `begin` has returned

private:
  std::once_flag once_;
  std::optional<code_limits> it_;
};

} // namespace parley::gateway
