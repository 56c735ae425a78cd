#pragma once
#include "protocol/client/device/backoff.hpp"
#include "protocol/client/values.hpp"
#include "protocol/transport/socket.hpp"

#include <string_view>
#include <vector>

namespace parley::client {

using transport::endpoint;

/// "host:port,host:port"
result<std::vector<endpoint>> parse_seeds(std::string_view text);

/// Where deliveries come from.
enum class intake : std::uint8_t {
  live, ///< the cluster streams them into the device
  pull  ///< only `sync_inbox` fetches them
};

struct config {
  std::vector<endpoint> seeds;              ///< any node will do; the next one is tried when one fails
  std::size_t first_seed = ~std::size_t{0}; ///< index of the seed to begin with; the default: any

  backoff_config reconnect{std::chrono::milliseconds{500}, std::chrono::milliseconds{60'000}};
  /// After this long a connection counts as good, and the next loss starts at the lowest ceiling again.
  std::chrono::milliseconds stable_after{5'000};
  std::chrono::milliseconds dial_timeout{5'000}; ///< one seed: TCP, TLS, hello and login together
  /// The cluster answers every call in less, if only with "timed out": silence means a dead connection.
  std::chrono::milliseconds call_timeout{15'000};
  std::chrono::milliseconds ask_timeout{30'000}; ///< calls other than `send`: with all their retries
  std::chrono::milliseconds ping_every{30'000};  ///< if nothing else was said; the cluster allows 90 s

  backoff_config resend{std::chrono::milliseconds{50}, std::chrono::milliseconds{2'000}};
  /// Messages of one conversation under way at once. 1 keeps their order whatever happens; more is for load
  /// generators. The cluster remembers the newest 256 ids of a device and conversation: stay far below.
  std::size_t window = 1;
  std::size_t in_flight_max = 1'024;         ///< of all conversations together
  std::size_t outbox_messages_max = 100'000; ///< without an outcome; above, `send` refuses
  /// So many refusals in a row say that this node cannot reach a majority: go to another.
  unsigned move_after_refusals = 6;

  intake how = intake::live;
  std::chrono::milliseconds ack_every{200};
  std::size_t ack_items_max = 100;
  std::uint32_t page_items = 500; ///< of sync calls; the cluster caps it
  unsigned heal_tries_max = 3;    ///< of a gap that does not close; then it is reported and passed over

  std::uint64_t chance = 0; ///< seed of jitter; 0: from the operating system

  /// Empty, or the field that cannot be run with.
  std::string_view objection() const;
};

} // namespace parley::client
