#include "cluster/node/node_settings.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::cluster {
namespace {

std::chrono::seconds whole_seconds(std::chrono::milliseconds t) {
  return std::chrono::duration_cast<std::chrono::seconds>(t);
}

} // namespace

router_config router_settings(const node_config& c, const founding& f) {
  router_config r;
  r.node = c.node;
  r.shards = f.shards;
  return r;
}

shard_config shard_settings(const node_config& c, const founding& f) {
  shard_config s;
  s.resident.passivate_after = c.passivate_after;
  s.resident.code_valid = c.code_life;
  s.resident.conversation_burst_max = c.conversation_sends_burst;
  s.resident.conversation_refill_every = settings::interval(c.conversation_sends_per_second);
  s.fan_out.ledger.shards = f.shards;
  return s;
}

session_config session_settings(const node_config& c) {
  session_config s;
  s.queue_rows_max = c.delivery_queue_rows;
  s.queue_bytes_max = c.delivery_queue_bytes;
  s.answer_within = c.call_timeout;
  s.sends_burst_max = c.user_sends_burst;
  s.sends_refill_every = settings::interval(c.user_sends_per_second);
  s.calls_burst_max = s.sends_burst_max + session_config::other_calls_burst;
  s.calls_refill_every = session_config::calls_interval(c.user_sends_per_second);
  return s;
}

gateway::gateway_config gateway_settings(const node_config& c, const founding& f) {
  gateway::gateway_config g;
  g.listen = {c.client_listen.host, c.client_listen.port};
  g.cluster = {f.cluster.hi, f.cluster.lo};
  g.node = c.node;
  g.login_deadline = c.login_deadline;
  g.stream.write_deadline = c.write_deadline;
  g.connections_max = c.connections_max;
  g.pre_login_max = c.connections_before_login_max;
  g.pre_login_per_address_max = gateway::pre_login_share(c.connections_before_login_max);
  g.codes_burst = c.codes_per_address;
  g.registrations_burst = c.codes_per_address;
  g.codes_per_hour = c.codes_per_hour;
  g.page_wait_max = c.call_timeout;
  g.sends_bytes_of_all_max = sends_bytes_max / c.kj_threads;
  g.sends_held_bytes_of_all_max = sends_held_bytes_max / c.kj_threads;
  g.sends_under_way_of_all_max = std::max(1u, g.sends_under_way_of_all_max / c.kj_threads);
  // Who sends all that a user may takes turns, however little that is.
  g.sends_seldom_max = std::clamp(c.user_sends_per_second * 4 / 5, 1U, g.sends_seldom_max);
  g.resume_valid_for = whole_seconds(c.resume_token_life);
  g.drain_spread = c.drain_spread;
  return g;
}

tl::expected<std::optional<gateway::webhook_config>, std::string> webhook_settings(const node_config& c) {
  if (c.code_sender == "console")
    return std::nullopt;
  if (const auto objection = gateway::objection_to(c.code_sender); !objection.empty())
    return tl::unexpected("code.sender: " + objection);
  gateway::webhook_config w;
  w.url = c.code_sender;
  // A connection is closed at the login deadline, and who asked for a code has to be told before whether it was sent.
  w.deadline = std::max(c.login_deadline * 3 / 5, milliseconds{1});
  if (c.code_authorization_file != settings::code_authorization_file.standard) {
    auto secret = gateway::read_authorization(c.code_authorization_file);
    if (!secret)
      return tl::unexpected("code.authorization_file: " + secret.error());
    w.authorization = std::move(*secret);
  }
  return w;
}

/// Links to nodes that run are up within half a second of a start.
constexpr std::chrono::milliseconds votes_after{1000};

store_config store_settings(const node_config& c, disk_id disk) {
  store_config s;
  s.replication.node = c.node;
  s.replication.disk = disk;
  s.replication.data_file = c.data_dir + "/store.mdb";
  s.replication.election_timeout = c.election_timeout;
  s.replication.votes_after = votes_after;
  s.replication.heartbeat_every = c.raft_heartbeat;
  s.replication.reserve_bytes = c.disk_reserve;
  return s;
}

storage::lmdb_config storage_settings(const node_config& c) {
  storage::lmdb_config s;
  s.reserve_bytes = c.disk_reserve;
  s.map_bytes_max = c.map_bytes_max;
  s.map_bytes_initial = std::min(s.map_bytes_initial, s.map_bytes_max);
  return s;
}

std::optional<std::string> fit_connections(node_config& c, std::uint64_t descriptors) {
  // Connections of the admin port (64), callers at the peer port (64), two for each link, questions to seeds, the
  // files of the store, and a few for each event loop.
  const std::uint64_t beside = 256 + 8ULL * c.kj_threads;
  const auto wanted = std::uint64_t{c.connections_max} * c.kj_threads + beside;
  if (wanted <= descriptors)
    return std::nullopt;
  const auto rest = descriptors > 2 * beside ? descriptors - beside : descriptors / 2;
  const auto each = std::max<std::uint64_t>(1, rest / c.kj_threads);
  auto said = fmt::format("this process may open {} files, and limits.connections ({} for each event loop) "
                          "needs {}: each event loop "
                          "serves at most {} clients. Raise the limit (ulimit -n, or LimitNOFILE= of the "
                          "service) and restart, or lower "
                          "limits.connections",
                          descriptors, c.connections_max, wanted, each);
  c.connections_max = static_cast<std::uint32_t>(each);
  return said;
}

std::optional<std::string> validate_parts(const node_config& c, const founding& f) {
  const auto refused = [](std::string_view part, std::string_view field) {
    return fmt::format(
        "the {} cannot run with these settings ({}). This is a fault of the program: bounds that --help "
        "prints should have refused them. Nothing was changed; set the values that you changed last back",
        part, field);
  };
  for (const auto& [part, fault] : {std::pair{"router", validate(router_settings(c, f))},
                                    {"shards", validate(shard_settings(c, f))},
                                    {"sessions of clients", validate(session_settings(c))},
                                    {"store", validate(store_settings(c, disk_id{1}))},
                                    {"data file", validate(storage_settings(c))},
                                    {"gateway", validate(gateway_settings(c, f))}})
    if (fault)
      return refused(part, fault->field);
  return std::nullopt;
}

} // namespace parley::cluster
