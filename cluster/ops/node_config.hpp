#pragma once
// What an operator can set, in one table: a key of the file is a flag and an environment variable too.
//
//   data_dir = "…"  in the file   =   --data-dir …   =   PARLEY_DATA_DIR=…
//
// A flag takes precedence over the environment, and the environment over the file.
//
// Filled once in `main` and passed down. Thread: any, it is a value.
#include "protocol/values/types.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::cluster {

/// host:port; IPv6 as [::1]:7000.
struct endpoint {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const endpoint&) const = default;
  auto operator<=>(const endpoint&) const = default;
};
std::string to_string(const endpoint& e);
std::optional<endpoint> parse_endpoint(std::string_view text);

struct node_config {
  using milliseconds = std::chrono::milliseconds;

  // identity and place
  node_id node{};
  std::string data_dir;
  std::string certs_dir;       ///< as scripts/make_certs.sh lays it out
  std::vector<endpoint> seeds; ///< peer addresses; the same list, in any order, on every first node
  bool form = false;           ///< an operator's word that missing seeds hold no cluster; see formation.hpp
  endpoint peer_listen{"127.0.0.1", 7100};
  endpoint peer_advertise; ///< what other nodes are told; default: `peer_listen`
  endpoint client_listen{"127.0.0.1", 7000};
  endpoint client_advertise;                ///< what clients are told; default: `client_listen`
  endpoint admin_listen{"127.0.0.1", 7200}; ///< port 0: any free one, logged

  // shape of a new cluster; an existing one keeps its own
  std::uint16_t shards = 64;  ///< rule: 16 for each node ever expected
  std::uint16_t replicas = 3; ///< of each shard, or as many as there are nodes

  // threads
  std::uint32_t kj_threads = 1;        ///< gateway loops
  std::uint32_t caf_workers = 0;       ///< 0: actors run on the network thread
  std::string caf_policy = "stealing"; ///< or sharing
  bool threads_batch = true;           ///< SCHED_BATCH: a woken thread does not displace its waker halfway
  bool caf_polling = false; ///< true: idle workers poll: 16 % of a core per idle node here, and no faster

  // timing
  milliseconds election_timeout{500};
  milliseconds raft_heartbeat{100};
  milliseconds link_heartbeat{500}; ///< between nodes, on the connection
  milliseconds link_timeout{2000};  ///< a silent peer's connection is closed
  milliseconds login_deadline{5'000};
  milliseconds write_deadline{10'000};
  milliseconds resume_token_life{300'000};
  milliseconds call_timeout{5'000};     ///< a client's call; then its outcome is unknown
  milliseconds passivate_after{60'000}; ///< idle conversations and inboxes leave memory

  // limits
  std::uint32_t connections_max = 15'000;
  std::uint32_t connections_before_login_max = 1'000;
  std::uint32_t outbox_messages_max = 256; ///< per connection
  std::uint64_t outbox_bytes_max = 512 << 10;
  std::uint32_t user_sends_per_second = 200;
  std::uint32_t user_sends_burst = 400;
  std::uint32_t conversation_sends_per_second = 500;
  std::uint32_t conversation_sends_burst = 1'000;
  std::uint64_t disk_reserve_bytes = 256
                                     << 20; ///< below it proposals are refused; votes and applies live off it
  std::uint64_t map_bytes_max = std::uint64_t{1}
                                << 40; ///< address space for one LMDB environment, not memory

  // registration
  std::uint32_t codes_per_address_burst = 30; ///< codes and registrations from one address at once
  std::string code_sender = "console";        ///< or a webhook's URL, http(s)://…
  milliseconds code_life{600'000};

  // operations
  std::string log_level = "info";      ///< trace debug info warn error
  std::string log_format = "text";     ///< key=value; or json
  milliseconds drain_spread{30'000};   ///< clients of a stopping node come back elsewhere spread over this
  milliseconds drain_deadline{10'000}; ///< leaderships are handed over within this, or not at all

  std::string own_file(const char* name) const;
  std::string peer_cert() const { return own_file("node.pem"); } ///< files under `certs_dir`
  std::string peer_key() const { return own_file("node.key"); }
  std::string peer_ca() const { return certs_dir + "/node-ca.pem"; }
  std::string client_cert() const { return own_file("client.pem"); }
  std::string client_key() const { return own_file("client.key"); }
  std::string admin_cert() const { return own_file("admin.pem"); }
  std::string admin_key() const { return own_file("admin.key"); }
  std::string admin_ca() const { return certs_dir + "/admin-ca.pem"; }
};

/// `none`, or a sentence: which field cannot be run with, and what would do.
std::optional<std::string> validate(const node_config& config);

/// What the command line asks for.
struct startup {
  enum class action { run, dump, print } what = action::run;
  node_config config;
  std::string dump_dir;              ///< `--dump DIR`: print every replica of that data directory, and exit
  std::string text;                  ///< `print`: help, the version, or what is wrong
  int exit_code = 0;                 ///< of `print`
  std::vector<std::string> warnings; ///< to log: environment variables that nobody reads
};

using environment_variables = std::map<std::string, std::string>;
environment_variables current_environment();

/// Reads flags, PARLEY_* variables and the file named by --config or PARLEY_CONFIG, and validates.
startup read_startup(int argc, const char* const* argv, const environment_variables& env,
                     std::string_view version);

/// The known word nearest to `unknown`, if it is near enough to be meant.
std::optional<std::string> suggest(std::string_view unknown, const std::vector<std::string>& known);

} // namespace parley::cluster
