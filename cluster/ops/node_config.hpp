#pragma once
// What a node runs with: filled once in `main` (startup.hpp) and passed down. Thread: any, it is a value.
#include "protocol/values/settings.hpp"
#include "protocol/values/types.hpp"

#include <chrono>
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
/// Of a setting that has a default.
endpoint default_of(const settings::address& a);

/// The values of all settings. Their sentences, defaults and bounds are in protocol/values/settings.hpp.
struct node_config {
  using milliseconds = std::chrono::milliseconds;

  // identity and addresses
  node_id node{settings::node.standard};
  std::string data_dir;
  std::string certs_dir;
  std::vector<endpoint> seeds;
  bool form = settings::form.standard;
  endpoint peer_listen = default_of(settings::peer_listen);
  endpoint peer_advertise; ///< empty until `read_startup` has taken `peer_listen` instead
  endpoint client_listen = default_of(settings::client_listen);
  endpoint client_advertise; ///< empty until `read_startup` has taken `client_listen` instead
  endpoint admin_listen = default_of(settings::admin_listen);

  // shape of a new cluster
  std::uint16_t shards = settings::shards.standard;
  std::uint16_t replicas = settings::replicas.standard;

  // threads
  std::uint32_t kj_threads = settings::kj_threads.standard;
  std::uint32_t caf_workers = settings::caf_workers.standard;
  std::string caf_policy{settings::caf_policy.standard};
  bool caf_polling = settings::caf_polling.standard;
  bool threads_batch = settings::threads_batch.standard;

  // timing
  milliseconds election_timeout = settings::election_timeout.standard;
  milliseconds raft_heartbeat = settings::raft_heartbeat.standard;
  milliseconds link_heartbeat = settings::link_heartbeat.standard;
  milliseconds link_timeout = settings::link_timeout.standard;
  milliseconds row_check = settings::row_check.standard;
  milliseconds login_deadline = settings::login_deadline.standard;
  milliseconds write_deadline = settings::write_deadline.standard;
  milliseconds resume_token_life = settings::resume_token_life.standard;
  milliseconds call_timeout = settings::call_timeout.standard;
  milliseconds passivate_after = settings::passivate_after.standard;

  // limits
  std::uint32_t connections_max = settings::connections_max.standard;
  std::uint32_t connections_before_login_max = settings::connections_before_login_max.standard;
  std::uint32_t delivery_queue_rows = settings::delivery_queue_rows.standard;
  std::uint64_t delivery_queue_bytes = settings::delivery_queue_bytes.standard;
  std::uint32_t user_sends_per_second = settings::user_sends_per_second.standard;
  std::uint32_t user_sends_burst = settings::user_sends_burst.standard;
  std::uint32_t conversation_sends_per_second = settings::conversation_sends_per_second.standard;
  std::uint32_t conversation_sends_burst = settings::conversation_sends_burst.standard;
  std::uint32_t codes_per_address = settings::codes_per_address.standard;
  std::uint32_t codes_per_hour = settings::codes_per_hour.standard;
  std::uint64_t disk_reserve = settings::disk_reserve.standard;
  std::uint64_t map_bytes_max = settings::map_bytes_max.standard;

  // registration
  std::string code_sender{settings::code_sender.standard};
  std::string code_authorization_file{settings::code_authorization_file.standard};
  milliseconds code_life = settings::code_life.standard;

  // operations
  std::string log_level{settings::log_level.standard};
  std::string log_format{settings::log_format.standard};
  milliseconds drain_spread = settings::drain_spread.standard;
  milliseconds drain_deadline = settings::drain_deadline.standard;

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

/// `none`, or a sentence for the operator: the key of the setting that cannot be run with, why, and what
/// would do. Checks the bounds of each setting, and the rules between settings.
std::optional<std::string> validate(const node_config& config);

} // namespace parley::cluster
