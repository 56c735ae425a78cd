#include "cluster/ops/node_config.hpp"

#include "cluster/ops/quantities.hpp"
#include "cluster/ops/setting_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::cluster {
namespace {

using problem = std::optional<std::string>;

bool is_wildcard(const endpoint& e) {
  return e.host == "0.0.0.0" || e.host == "::";
}

/// Settings that have no default, with what to do about it.
problem missing(const node_config& c) {
  if (c.node == node_id::none)
    return "node: this node needs its number, from 1 on (--node 1)";
  if (c.data_dir.empty())
    return "data_dir: this node needs a directory for its data (--data-dir DIR)";
  if (c.certs_dir.empty())
    return "certs_dir: nodes accept only peers with certificates; "
           "create them with scripts/make_certs.sh, and name their directory (--certs-dir DIR)";
  if (c.seeds.empty())
    return "seeds: list the peer addresses of the first nodes, "
           "including this one if it is one of them (--seeds HOST:PORT,…)";
  return {};
}

problem out_of_bounds(const node_config& c) {
  for (const auto& s : setting_table())
    if (!s.in_bounds(c))
      return fmt::format("{}: it wants {}, not {}", s.key, s.wants, s.get(c).front());
  return {};
}

problem unfit_seeds(const std::vector<endpoint>& seeds) {
  if (seeds.size() > 64)
    return "seeds: at most 64 are allowed; nodes that join later need not be listed";
  for (auto s = seeds.begin(); s != seeds.end(); ++s) {
    if (s->port == 0)
      return fmt::format("seeds: {} has no port", to_string(*s));
    if (std::find(seeds.begin(), s, *s) != s)
      return fmt::format("seeds: {} is listed twice", to_string(*s));
  }
  return {};
}

problem unreachable(const node_config& c) {
  if (c.peer_listen.port == 0 || c.client_listen.port == 0)
    return "peer.listen, client.listen: "
           "other nodes and clients have to find this node, so choose a port above 0";
  if (c.peer_advertise.host.empty() || is_wildcard(c.peer_advertise) || c.peer_advertise.port == 0)
    return "peer.advertise: other nodes cannot connect to a wildcard address; give the name or address at "
           "which they reach this node";
  if (c.client_advertise.host.empty() || is_wildcard(c.client_advertise) || c.client_advertise.port == 0)
    return "client.advertise: clients cannot connect to a wildcard address; "
           "give the name or address at which they reach this node";
  return {};
}

/// Rules between settings, and those of one value that are more than bounds.
problem contradiction(const node_config& c) {
  if (c.replicas % 2 == 0)
    return "replicas: it wants 1, 3, 5 or 7; an even number costs more and survives no more failures";
  if (c.raft_heartbeat * 2 > c.election_timeout)
    return "timing.raft_heartbeat: it must be at most half of timing.election, or followers start elections "
           "although their leader is alive";
  if (c.link_heartbeat * 2 > c.link_timeout)
    return "timing.link_heartbeat: it must be at most half of timing.link_timeout, or connections are closed "
           "although the other node is alive";
  if (c.disk_reserve + settings::map_bytes_max.within.least >= c.map_bytes_max)
    return fmt::format(
        "limits.disk_reserve: it must be more than {} below limits.map, or nothing could be stored",
        size_text(settings::map_bytes_max.within.least));
  if (c.code_sender != "console" && !c.code_sender.starts_with("http://") &&
      !c.code_sender.starts_with("https://"))
    return "code.sender: it wants `console`, or the http(s) URL of a webhook";
  return {};
}

} // namespace

std::string to_string(const endpoint& e) {
  return e.host.find(':') == std::string::npos ? fmt::format("{}:{}", e.host, e.port)
                                               : fmt::format("[{}]:{}", e.host, e.port);
}

std::optional<endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return std::nullopt;
  auto host = text.substr(0, colon);
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string_view::npos)
    return std::nullopt;
  if (host.empty() || !port || host.find_first_of(" \t/@") != std::string_view::npos)
    return std::nullopt;
  return endpoint{std::string{host}, *port};
}

endpoint default_of(const settings::address& a) {
  return parse_endpoint(a.standard).value_or(endpoint{});
}

std::string node_config::own_file(const char* name) const {
  return fmt::format("{}/node-{}/{}", certs_dir, number(node), name);
}

std::optional<std::string> validate(const node_config& c) {
  if (auto p = missing(c))
    return p;
  if (auto p = out_of_bounds(c))
    return p;
  if (auto p = unfit_seeds(c.seeds))
    return p;
  if (auto p = unreachable(c))
    return p;
  return contradiction(c);
}

} // namespace parley::cluster
