#include "cluster/ops/node_config.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <limits>

extern char** environ;

namespace parley::cluster {
namespace {

using problem = std::optional<std::string>;
using words = std::vector<std::string>; ///< a value, or a list's items

struct setting {
  std::string key;   ///< in the file: "peer.listen"
  std::string group; ///< heading in --help
  std::string kind;  ///< what a value looks like
  std::string help;
  std::function<problem(node_config&, const words&)> set;
  bool list = false;
  bool flag = false; ///< on the command line no value is needed
};

std::string flag_name(const setting& s) {
  std::string name = "--" + s.key;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '_'; }, '-');
  return name;
}

std::string variable_name(const setting& s) {
  std::string name = "PARLEY_";
  for (char c : s.key)
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

/// A number with one of `units`; a bare number has no meaning of its own, except zero.
std::optional<std::uint64_t> parse_quantity(std::string_view text, std::initializer_list<unit> units) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = parse_number<std::uint64_t>(text.substr(0, digits));
  if (!value)
    return std::nullopt;
  const auto name = text.substr(digits);
  for (const auto& u : units) {
    if (name == u.name)
      return *value <= std::numeric_limits<std::int64_t>::max() / u.factor ? std::optional{*value * u.factor}
                                                                           : std::nullopt;
  }
  return *value == 0 && name.empty() ? std::optional<std::uint64_t>{0} : std::nullopt;
}

template <class T>
auto into_number(T node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    const auto n = parse_number<T>(v.front());
    if (!n)
      return fmt::format("wants a whole number up to {}", std::numeric_limits<T>::max());
    c.*field = *n;
    return {};
  };
}
auto into_text(std::string node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    c.*field = v.front();
    return {};
  };
}
auto into_bool(bool node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    const auto& t = v.front();
    if (t != "true" && t != "false")
      return "wants true or false";
    c.*field = t == "true";
    return {};
  };
}
auto into_time(node_config::milliseconds node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    const auto ms = parse_quantity(v.front(), {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"h", 3'600'000}});
    if (!ms)
      return "wants a time with its unit: 500ms, 30s, 5min";
    c.*field = node_config::milliseconds{static_cast<std::int64_t>(*ms)};
    return {};
  };
}
auto into_bytes(std::uint64_t node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    const auto bytes = parse_quantity(
        v.front(),
        {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", std::uint64_t{1} << 40}});
    if (!bytes)
      return "wants a size with its unit: 512KiB, 256MiB, 1TiB";
    c.*field = *bytes;
    return {};
  };
}
auto into_endpoint(endpoint node_config::*field) {
  return [field](node_config& c, const words& v) -> problem {
    const auto e = parse_endpoint(v.front());
    if (!e)
      return "wants HOST:PORT, or [IPV6]:PORT";
    c.*field = *e;
    return {};
  };
}

problem set_node(node_config& c, const words& v) {
  const auto n = parse_number<std::uint64_t>(v.front());
  if (!n)
    return "wants a whole number from 1 on";
  c.node = node_id{*n};
  return {};
}

problem set_seeds(node_config& c, const words& v) {
  c.seeds.clear();
  for (const auto& item : v) {
    const auto e = parse_endpoint(item);
    if (!e)
      return fmt::format("wants HOST:PORT, not '{}'", item);
    c.seeds.push_back(*e);
  }
  return {};
}

const std::vector<setting>& settings() {
  using c = node_config;
  static const std::vector<setting> all{
      {"node", "Identity and place", "N", "this node's number; its certificate names node-N.parley",
       set_node},
      {"data_dir", "Identity and place", "DIR", "where everything is kept; locked while the node runs",
       into_text(&c::data_dir)},
      {"certs_dir", "Identity and place", "DIR", "certificates, as scripts/make_certs.sh lays them out",
       into_text(&c::certs_dir)},
      {"seeds", "Identity and place", "HOST:PORT,…",
       "peer addresses of the first nodes: the same list on each of them", set_seeds, true},
      {"form", "Identity and place", "",
       "form a cluster though some seeds are silent: only if you know that they hold none",
       into_bool(&c::form), false, true},
      {"peer.listen", "Identity and place", "HOST:PORT", "for other nodes (mutual TLS) [127.0.0.1:7100]",
       into_endpoint(&c::peer_listen)},
      {"peer.advertise", "Identity and place", "HOST:PORT", "how other nodes reach it [as peer.listen]",
       into_endpoint(&c::peer_advertise)},
      {"client.listen", "Identity and place", "HOST:PORT", "for clients (TLS) [127.0.0.1:7000]",
       into_endpoint(&c::client_listen)},
      {"client.advertise", "Identity and place", "HOST:PORT", "how clients reach it [as client.listen]",
       into_endpoint(&c::client_advertise)},
      {"admin.listen", "Identity and place", "HOST:PORT",
       "/metrics, /healthz, /readyz; off loopback TLS for admin certificates [127.0.0.1:7200]",
       into_endpoint(&c::admin_listen)},

      {"shards", "Shape of a new cluster", "N", "fixed at formation; 16 for each node ever expected [64]",
       into_number(&c::shards)},
      {"replicas", "Shape of a new cluster", "N", "of each shard [3]", into_number(&c::replicas)},

      {"kj.threads", "Threads", "N", "event loops for clients [1]", into_number(&c::kj_threads)},
      {"caf.workers", "Threads", "N", "threads for actors; 0: the network's does both [0]",
       into_number(&c::caf_workers)},
      {"caf.policy", "Threads", "stealing|sharing", "how workers share work [stealing]",
       into_text(&c::caf_policy)},
      {"caf.polling", "Threads", "BOOL", "idle workers poll before they sleep [false]",
       into_bool(&c::caf_polling)},

      {"threads.batch", "Threads", "BOOL",
       "a woken thread lets its waker finish (SCHED_BATCH); off beside other busy programs [true]",
       into_bool(&c::threads_batch)},

      {"timing.election", "Timing", "TIME", "a follower stands for election after 1 to 2 times this [500ms]",
       into_time(&c::election_timeout)},
      {"timing.raft_heartbeat", "Timing", "TIME", "of leaders [100ms]", into_time(&c::raft_heartbeat)},
      {"timing.link_heartbeat", "Timing", "TIME", "between nodes [500ms]", into_time(&c::link_heartbeat)},
      {"timing.link_timeout", "Timing", "TIME", "a silent node's connection is closed [2s]",
       into_time(&c::link_timeout)},
      {"timing.login", "Timing", "TIME", "a client logs in within this, or is closed [5s]",
       into_time(&c::login_deadline)},
      {"timing.write", "Timing", "TIME", "a client takes what is written within this, or is closed [10s]",
       into_time(&c::write_deadline)},
      {"timing.resume", "Timing", "TIME", "life of a resume token [300s]", into_time(&c::resume_token_life)},
      {"timing.call", "Timing", "TIME", "a client's call; then its outcome is unknown [5s]",
       into_time(&c::call_timeout)},
      {"timing.passivate", "Timing", "TIME", "an idle conversation leaves memory [60s]",
       into_time(&c::passivate_after)},

      {"limits.connections", "Limits", "N", "of clients [15000]", into_number(&c::connections_max)},
      {"limits.connections_before_login", "Limits", "N", "of clients not logged in yet [1000]",
       into_number(&c::connections_before_login_max)},
      {"limits.outbox_messages", "Limits", "N", "waiting for one client; above, it resyncs [256]",
       into_number(&c::outbox_messages_max)},
      {"limits.outbox", "Limits", "SIZE", "the same in bytes [512KiB]", into_bytes(&c::outbox_bytes_max)},
      {"limits.user_sends_per_second", "Limits", "N", "of one user [200]",
       into_number(&c::user_sends_per_second)},
      {"limits.user_sends_burst", "Limits", "N", "at once [400]", into_number(&c::user_sends_burst)},
      {"limits.codes_per_address", "Limits", "N", "registrations from one address at once [30]",
       into_number(&c::codes_per_address_burst)},
      {"limits.conversation_sends_per_second", "Limits", "N", "into one conversation [500]",
       into_number(&c::conversation_sends_per_second)},
      {"limits.conversation_sends_burst", "Limits", "N", "at once [1000]",
       into_number(&c::conversation_sends_burst)},
      {"limits.disk_reserve", "Limits", "SIZE",
       "below this much free disk, new messages are refused [256MiB]", into_bytes(&c::disk_reserve_bytes)},
      {"limits.map", "Limits", "SIZE", "address space of one LMDB environment [1TiB]",
       into_bytes(&c::map_bytes_max)},

      {"code.sender", "Registration", "console|URL", "how confirmation codes go out [console]",
       into_text(&c::code_sender)},
      {"code.life", "Registration", "TIME", "a code expires after this [10min]", into_time(&c::code_life)},

      {"log.level", "Operations", "LEVEL", "trace, debug, info, warn, error [info]",
       into_text(&c::log_level)},
      {"log.format", "Operations", "text|json", "key=value lines, or one JSON object a line [text]",
       into_text(&c::log_format)},
      {"drain.spread", "Operations", "TIME", "a stopping node's clients reconnect spread over this [30s]",
       into_time(&c::drain_spread)},
      {"drain.deadline", "Operations", "TIME", "for handing leaderships over when stopping [10s]",
       into_time(&c::drain_deadline)},
  };
  return all;
}

const setting* find_setting(std::string_view key) {
  for (const auto& s : settings())
    if (s.key == key)
      return &s;
  return nullptr;
}

words split(std::string_view text) {
  words out;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    if (comma > 0)
      out.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

/// `whence` tells a person which of the three places is wrong.
problem apply(node_config& config, const setting& s, const words& value, std::string_view whence) {
  if (!s.list && value.size() != 1)
    return fmt::format("{} {} wants one value", whence, s.key);
  if (const auto p = s.set(config, value))
    return fmt::format("{} '{}': {} {}", whence, value.empty() ? "" : value.front(), s.key, *p);
  return {};
}

std::optional<words> scalars(const toml::node& n) {
  if (const auto* list = n.as_array()) {
    words out;
    for (const auto& item : *list) {
      const auto one = item.is_array() ? std::nullopt : scalars(item);
      if (!one)
        return std::nullopt;
      out.push_back(one->front());
    }
    return out;
  }
  if (const auto v = n.value_exact<std::string>())
    return words{*v};
  if (const auto v = n.value_exact<std::int64_t>())
    return words{std::to_string(*v)};
  if (const auto v = n.value_exact<bool>())
    return words{*v ? "true" : "false"};
  return std::nullopt;
}

problem apply_table(node_config& config, const toml::table& table, const std::string& prefix,
                    const std::string& file) {
  words known;
  for (const auto& s : settings())
    known.push_back(s.key);
  for (const auto& [name, node] : table) {
    const auto key = prefix + std::string{name.str()};
    const auto line = node.source().begin.line;
    const bool is_section =
        std::any_of(known.begin(), known.end(), [&](const auto& k) { return k.starts_with(key + "."); });
    if (const auto* section = node.as_table(); section && (is_section || prefix.empty())) {
      if (const auto p = apply_table(config, *section, key + ".", file))
        return p;
      continue;
    }
    const auto* s = find_setting(key);
    if (!s) {
      const auto near = suggest(key, known);
      return fmt::format("{}:{}: there is no setting '{}'{}", file, line, key,
                         near ? fmt::format("; did you mean '{}'?", *near) : "");
    }
    const auto value = scalars(node);
    if (!value)
      return fmt::format("{}:{}: {} wants {}", file, line, key, s->kind.empty() ? "true or false" : s->kind);
    if (const auto p = apply(config, *s, *value, fmt::format("{}:{}:", file, line)))
      return p;
  }
  return {};
}

problem apply_file(node_config& config, const std::string& file) {
  if (!std::filesystem::is_regular_file(file))
    return fmt::format("there is no configuration file {}", file);
  try {
    return apply_table(config, toml::parse_file(file), "", file);
  } catch (const toml::parse_error& e) {
    return fmt::format("{}:{}: {}", file, e.source().begin.line, e.description());
  }
}

problem apply_environment(node_config& config, const environment_variables& env) {
  for (const auto& s : settings()) {
    const auto i = env.find(variable_name(s));
    if (i == env.end())
      continue;
    if (const auto p = apply(config, s, s.list ? split(i->second) : words{i->second}, i->first))
      return p;
  }
  return {};
}

std::vector<std::string> strangers(const environment_variables& env) {
  // Those of `parley`, which may run from the same shell, are no mistakes here. PARLEY_SEEDS is read by both:
  // clients' addresses there, nodes' here; but a command line that names its seeds beats it.
  words known{"PARLEY_CONFIG", "PARLEY_CA", "PARLEY_PROFILE", "PARLEY_ADMIN"};
  for (const auto& s : settings())
    known.push_back(variable_name(s));
  std::vector<std::string> out;
  for (auto i = env.lower_bound("PARLEY_"); i != env.end() && i->first.starts_with("PARLEY_"); ++i) {
    if (std::find(known.begin(), known.end(), i->first) != known.end())
      continue;
    const auto near = suggest(i->first, known);
    out.push_back(fmt::format("the environment variable {} is not a setting{}", i->first,
                              near ? fmt::format("; did you mean {}?", *near) : ""));
  }
  return out;
}

constexpr auto about = R"(parleyd: one node of a Parley cluster.

Start as many as you like with the same list of seeds; one is a cluster too. On a first start they find each
other, make sure that no seed holds a cluster already, and form one. After that the data directory knows where
it belongs: start it again with the same command.

  scripts/make_certs.sh certs 1 2 3
  parleyd --node 1 --data-dir data/1 --certs-dir certs --peer-listen 127.0.0.1:7101 --client-listen 127.0.0.1:7001 \
          --admin-listen 127.0.0.1:7201 --seeds 127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103
  (and the same for 2 and 3, with their own ports))";

constexpr auto more_about = R"(
Every setting can stand in three places; a flag beats the environment, and that beats the file:
  --peer-listen 127.0.0.1:7101
  PARLEY_PEER_LISTEN=127.0.0.1:7101
  [peer]
  listen = "127.0.0.1:7101"        # in the file named by --config (TOML)

Times have units (500ms, 30s, 5min), sizes too (512KiB, 256MiB). Values in [brackets] are the defaults.
SIGTERM drains: the node hands its leaderships over, tells its clients to come back elsewhere, and exits 0.)";

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

std::string node_config::own_file(const char* name) const {
  return fmt::format("{}/node-{}/{}", certs_dir, number(node), name);
}

std::optional<std::string> validate(const node_config& c) {
  const auto in = [](auto value, auto low, auto high) { return value >= low && value <= high; };
  const auto wildcard = [](const endpoint& e) { return e.host == "0.0.0.0" || e.host == "::"; };
  if (!in(number(c.node), 1u, 1'000'000'000u))
    return "node: give this node its number, from 1 on (--node 1)";
  if (c.data_dir.empty())
    return "data_dir: say where to keep the data (--data-dir DIR)";
  if (c.certs_dir.empty())
    return "certs_dir: nodes talk only with certificates; make them with scripts/make_certs.sh (--certs-dir "
           "DIR)";
  if (c.seeds.empty())
    return "seeds: list the peer addresses of the first nodes, this one's too if it is one of them (--seeds "
           "…)";
  if (c.seeds.size() > 64)
    return "seeds: at most 64; later nodes need not be listed";
  for (std::size_t i = 0; i < c.seeds.size(); ++i) {
    if (c.seeds[i].port == 0)
      return fmt::format("seeds: {} has no port", to_string(c.seeds[i]));
    if (std::find(c.seeds.begin(), c.seeds.begin() + static_cast<std::ptrdiff_t>(i), c.seeds[i]) !=
        c.seeds.begin() + static_cast<std::ptrdiff_t>(i))
      return fmt::format("seeds: {} is listed twice", to_string(c.seeds[i]));
  }
  if (c.peer_listen.port == 0 || c.client_listen.port == 0)
    return "peer.listen, client.listen: others have to find this node: choose a port";
  if (c.peer_advertise.host.empty() || wildcard(c.peer_advertise) || c.peer_advertise.port == 0)
    return "peer.advertise: other nodes cannot connect to a wildcard: give the name or address that they "
           "reach";
  if (c.client_advertise.host.empty() || wildcard(c.client_advertise) || c.client_advertise.port == 0)
    return "client.advertise: clients cannot connect to a wildcard: give the name or address that they reach";
  if (!in(c.shards, 1, 4096))
    return "shards: from 1 to 4096";
  if (!in(c.replicas, 1, 7) || c.replicas % 2 == 0)
    return "replicas: 1, 3, 5 or 7: an even number costs more and survives no more";
  if (!in(c.kj_threads, 1u, 64u) || !in(c.caf_workers, 0u, 64u))
    return "kj.threads: from 1 to 64; caf.workers: from 0 to 64";
  if (c.caf_policy != "stealing" && c.caf_policy != "sharing")
    return "caf.policy: stealing or sharing";
  if (c.election_timeout.count() < 50 || c.election_timeout.count() > 60'000)
    return "timing.election: from 50ms to 60s";
  if (c.raft_heartbeat.count() < 5 || c.raft_heartbeat * 2 > c.election_timeout)
    return "timing.raft_heartbeat: from 5ms to half of timing.election";
  if (c.link_heartbeat.count() < 50 || c.link_heartbeat * 2 > c.link_timeout)
    return "timing.link_heartbeat: from 50ms to half of timing.link_timeout";
  for (auto [name, value] : {std::pair{"timing.login", c.login_deadline},
                             {"timing.write", c.write_deadline},
                             {"timing.resume", c.resume_token_life},
                             {"timing.call", c.call_timeout},
                             {"timing.passivate", c.passivate_after},
                             {"code.life", c.code_life},
                             {"drain.deadline", c.drain_deadline}})
    if (value.count() < 100 || value > std::chrono::hours{24})
      return fmt::format("{}: from 100ms to 24h", name);
  if (c.drain_spread > std::chrono::hours{1})
    return "drain.spread: up to 1h";
  if (c.connections_max < 1 || c.connections_before_login_max < 1)
    return "limits.connections, limits.connections_before_login: at least 1";
  if (c.outbox_messages_max < 16 || c.outbox_bytes_max < (128 << 10))
    return "limits.outbox_messages, limits.outbox: at least 16 messages and 128KiB";
  if (c.user_sends_per_second < 1 || c.user_sends_burst < 1 || c.conversation_sends_per_second < 1 ||
      c.conversation_sends_burst < 1)
    return "limits.*_sends_per_second, limits.*_sends_burst: at least 1";
  if (c.map_bytes_max < (64 << 20))
    return "limits.map: at least 64MiB";
  if (c.code_sender != "console" && !c.code_sender.starts_with("http://") &&
      !c.code_sender.starts_with("https://"))
    return "code.sender: console, or the URL of a webhook";
  static constexpr std::string_view levels[] = {"trace", "debug", "info", "warn", "error"};
  if (std::find(std::begin(levels), std::end(levels), c.log_level) == std::end(levels))
    return "log.level: trace, debug, info, warn or error";
  if (c.log_format != "text" && c.log_format != "json")
    return "log.format: text or json";
  return {};
}

environment_variables current_environment() {
  environment_variables out;
  for (char** e = environ; e && *e; ++e) {
    const std::string_view entry{*e};
    if (const auto eq = entry.find('='); eq != std::string_view::npos)
      out.emplace(entry.substr(0, eq), entry.substr(eq + 1));
  }
  return out;
}

startup read_startup(int argc, const char* const* argv, const environment_variables& env,
                     std::string_view version) {
  startup result;
  const auto print = [&](std::string text, int code) {
    result.what = startup::action::print;
    result.text = std::move(text);
    result.exit_code = code;
    return result;
  };

  CLI::App app{about};
  app.name("parleyd");
  app.footer(more_about);
  app.get_formatter()->column_width(44);
  app.set_version_flag("--version", std::string{version});
  std::string file;
  app.add_option("--config", file, "settings file (TOML)")->type_name("FILE");
  app.add_option("--dump", result.dump_dir,
                 "print every replica kept in DIR, one JSON object a line, and exit")
      ->type_name("DIR");
  std::map<std::string, std::string> flags;
  for (const auto& s : settings()) {
    auto* option =
        s.flag ? app.add_flag_callback(
                     flag_name(s), [&flags, &s] { flags[s.key] = "true"; }, s.help)
               : app.add_option_function<std::string>(
                        flag_name(s), [&flags, &s](const std::string& v) { flags[s.key] = v; }, s.help)
                     ->type_name(s.kind);
    option->group(s.group);
  }
  words known{"--config", "--dump", "--version", "--help"};
  for (const auto& s : settings())
    known.push_back(flag_name(s));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return print(app.help(), 0);
  } catch (const CLI::CallForVersion&) {
    return print(std::string{version} + "\n", 0);
  } catch (const CLI::ParseError& e) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view word{argv[i]};
      const auto name = word.substr(0, word.find('='));
      if (!name.starts_with("--") || std::find(known.begin(), known.end(), name) != known.end())
        continue;
      const auto near = suggest(name, known);
      return print(fmt::format("parleyd: there is no flag {}{}\n", name,
                               near ? fmt::format("; did you mean {}?", *near) : " (see --help)"),
                   2);
    }
    return print(fmt::format("parleyd: {} (see --help)\n", e.what()), 2);
  }
  if (!result.dump_dir.empty()) {
    result.what = startup::action::dump;
    return result;
  }

  if (file.empty())
    if (const auto i = env.find("PARLEY_CONFIG"); i != env.end())
      file = i->second;
  auto& config = result.config;
  if (!file.empty())
    if (const auto p = apply_file(config, file))
      return print("parleyd: " + *p + "\n", 2);
  if (const auto p = apply_environment(config, env))
    return print("parleyd: " + *p + "\n", 2);
  for (const auto& s : settings())
    if (const auto i = flags.find(s.key); i != flags.end())
      if (const auto p = apply(config, s, s.list ? split(i->second) : words{i->second}, flag_name(s)))
        return print("parleyd: " + *p + "\n", 2);

  if (config.peer_advertise.host.empty())
    config.peer_advertise = config.peer_listen;
  if (config.client_advertise.host.empty())
    config.client_advertise = config.client_listen;
  if (const auto p = validate(config))
    return print("parleyd: " + *p + (argc < 2 ? "; `parleyd --help` shows a whole command\n" : "\n"), 2);
  result.warnings = strangers(env);
  return result;
}

std::optional<std::string> suggest(std::string_view unknown, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  auto best_distance = std::max<std::size_t>(2, unknown.size() / 3) + 1;
  for (const auto& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1); // Levenshtein, one row at a time
    for (std::size_t j = 0; j < row.size(); ++j)
      row[j] = j;
    for (std::size_t i = 1; i <= unknown.size(); ++i) {
      auto diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j < row.size(); ++j) {
        const auto replace = diagonal + (unknown[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = std::exchange(row[j], std::min({replace, row[j] + 1, row[j - 1] + 1}));
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

} // namespace parley::cluster
