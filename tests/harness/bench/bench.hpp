#pragma once
// `parley bench`: measures a cluster of its own, with real processes over real TLS, on this machine.
#include <cstdint>
#include <string>
#include <vector>

namespace parley::bench {

struct bench_options {
  enum class what { direct, latency, idle, drain, lag, attack } measure = what::direct;
  std::size_t nodes = 3;
  std::size_t replicas = 3; ///< of each shard, at most one on a node
  unsigned seconds = 10;
  unsigned warm_up_seconds = 3;
  std::size_t pairs = 200;
  unsigned window = 4; ///< messages of a pair that are not answered yet
  double rate = 0;     ///< messages per second of all pairs together; 0: as fast as the windows allow
  std::size_t body_bytes = 200;
  std::size_t idle = 0;            ///< for direct and latency: connections that do nothing meanwhile
  std::size_t away = 0;            ///< for the same: users who exist and are not connected
  std::size_t connections = 5'000; ///< for idle
  std::size_t users = 100;         ///< for drain, and for attack: the attackers with accounts
  std::size_t messages = 10'000;   ///< for drain, of all users together
  unsigned ack_every_ms = 1'000;   ///< how often a recipient confirms what it has received
  std::uint64_t lag_mib = 24;      ///< for lag, of bodies that a dead node misses
  unsigned settle_seconds = 30;    ///< for attack: from the end of an assault until memory is read
  std::vector<std::string> only;   ///< for attack: names of assaults; empty: all
  bool bind = true;                ///< binds each node to one processor
  bool json_only = false;
  std::string parleyd;
  std::string keep;
  std::vector<std::string> node_flags;
};

/// Returns 0, or 2 if the measurement could not be made.
int run_bench(const bench_options& options);

} // namespace parley::bench
