#include "cluster/ops/setting_table.hpp"

#include "cluster/ops/quantities.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace parley::cluster {
namespace {

using words = setting_entry::words;
using unread = std::optional<std::string>; ///< the word that cannot be read
using std::chrono::milliseconds;

/// Stands for a value of any type, to count the fields of an aggregate.
struct anything {
  template <class T>
  operator T() const; // never defined: only asked whether it would do
};

template <class T, class... Fields>
constexpr std::size_t field_count() {
  if constexpr (requires { T{Fields{}..., anything{}}; })
    return field_count<T, Fields..., anything>();
  else
    return sizeof...(Fields);
}

// --- one kind of value after the other ---------------------------------------------------------------------

/// What an entry has whatever its kind is. `parse` answers an optional value, `print` the text of one.
template <class Declared, class T, class Parse, class Print>
setting_entry entry(const Declared& d, T node_config::*field, Parse parse, Print print) {
  setting_entry e;
  e.key = d.key;
  e.about = d.about;
  e.help = d.help;
  e.set = [field, parse](node_config& c, const words& v) -> unread {
    auto value = parse(v.front());
    if (!value)
      return v.front();
    c.*field = std::move(*value);
    return std::nullopt;
  };
  e.get = [field, print](const node_config& c) { return words{print(c.*field)}; };
  e.in_bounds = [](const node_config&) { return true; };
  return e;
}

template <class T, class Print>
void limit(setting_entry& e, std::string_view what, T node_config::*field, settings::bounds<T> b,
           Print print) {
  e.within = b.most == std::numeric_limits<T>::max()
                 ? fmt::format("at least {}", print(b.least))
                 : fmt::format("from {} to {}", print(b.least), print(b.most));
  e.wants = fmt::format("{} {}", what, e.within);
  e.in_bounds = [field, b](const node_config& c) { return c.*field >= b.least && c.*field <= b.most; };
}

template <class T>
setting_entry bind(const settings::count<T>& d, T node_config::*field) {
  const auto print = [](T n) { return std::to_string(n); };
  auto e = entry(d, field, parse_number<T>, print);
  limit(e, "a whole number", field, d.within, print);
  e.looks_like = "N";
  e.standard =
      fmt::format("{} {}", d.standard, d.standard == 1 ? d.unit.substr(0, d.unit.size() - 1) : d.unit);
  e.quoted = false;
  return e;
}

setting_entry bind(const settings::count<std::uint64_t>& d, node_id node_config::*field) {
  const auto print = [](node_id n) { return std::to_string(number(n)); };
  const auto parse = [](std::string_view text) -> std::optional<node_id> {
    const auto n = parse_number<std::uint64_t>(text);
    return n ? std::optional{node_id{*n}} : std::nullopt;
  };
  auto e = entry(d, field, parse, print);
  e.within = fmt::format("from {} to {}", d.within.least, d.within.most);
  e.wants = "a whole number " + e.within;
  e.in_bounds = [field, b = d.within](const node_config& c) {
    return number(c.*field) >= b.least && number(c.*field) <= b.most;
  };
  e.looks_like = "N";
  e.quoted = false;
  return e;
}

setting_entry bind(const settings::duration& d, milliseconds node_config::*field) {
  auto e = entry(d, field, parse_duration, duration_text);
  limit(e, "a time with its unit (500ms, 30s, 5min, 1h)", field, d.within, duration_text);
  e.looks_like = "TIME";
  e.standard = duration_text(d.standard);
  return e;
}

setting_entry bind(const settings::size& d, std::uint64_t node_config::*field) {
  auto e = entry(d, field, parse_size, size_text);
  limit(e, "a size with its unit (512KiB, 256MiB, 1TiB)", field, d.within, size_text);
  e.looks_like = "SIZE";
  e.standard = size_text(d.standard);
  return e;
}

setting_entry bind(const settings::on_off& d, bool node_config::*field) {
  const auto print = [](bool b) { return std::string{b ? "true" : "false"}; };
  const auto parse = [](std::string_view text) {
    return text == "true" ? std::optional{true} : text == "false" ? std::optional{false} : std::nullopt;
  };
  auto e = entry(d, field, parse, print);
  e.looks_like = "true|false";
  e.wants = "true or false";
  e.standard = print(d.standard);
  e.needs_value = d.needs_value;
  e.quoted = false;
  return e;
}

const auto as_it_is = [](const std::string& text) { return text; };

setting_entry bind(const settings::choice& d, std::string node_config::*field) {
  words all;
  for (const auto word : d.words)
    if (!word.empty())
      all.emplace_back(word);
  const auto parse = [](const std::string& text) { return std::optional{text}; };
  auto e = entry(d, field, parse, as_it_is);
  e.looks_like = fmt::format("{}", fmt::join(all, "|"));
  e.wants = fmt::format("one of {}", fmt::join(all, ", "));
  e.standard = d.standard;
  e.in_bounds = [field, all](const node_config& c) {
    return std::find(all.begin(), all.end(), c.*field) != all.end();
  };
  return e;
}

setting_entry bind(const settings::text& d, std::string node_config::*field) {
  const auto parse = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional{text};
  };
  auto e = entry(d, field, parse, as_it_is);
  e.looks_like = d.looks_like;
  e.wants = d.looks_like;
  if (const auto bar = e.wants.find('|'); bar != std::string::npos)
    e.wants.replace(bar, 1, " or ");
  e.standard = d.standard;
  return e;
}

setting_entry bind(const settings::address& d, endpoint node_config::*field) {
  const auto print = [](const endpoint& e) { return e.host.empty() ? std::string{} : to_string(e); };
  auto e = entry(d, field, parse_endpoint, print);
  e.looks_like = "HOST:PORT";
  e.wants = "HOST:PORT, or [IPV6]:PORT";
  e.standard = d.instead.empty() ? std::string{d.standard} : fmt::format("the value of {}", d.instead);
  return e;
}

setting_entry bind(const settings::address_list& d, std::vector<endpoint> node_config::*field) {
  setting_entry e;
  e.key = d.key;
  e.about = d.about;
  e.help = d.help;
  e.looks_like = "HOST:PORT,…";
  e.wants = "HOST:PORT, or [IPV6]:PORT, for each of its items";
  e.list = true;
  e.set = [field](node_config& c, const words& v) -> unread {
    (c.*field).clear();
    for (const auto& item : v) {
      const auto at = parse_endpoint(item);
      if (!at)
        return item;
      (c.*field).push_back(*at);
    }
    return std::nullopt;
  };
  e.get = [field](const node_config& c) {
    words out;
    for (const auto& at : c.*field)
      out.push_back(to_string(at));
    return out;
  };
  e.in_bounds = [](const node_config&) { return true; };
  return e;
}

std::vector<setting_entry> make_table() {
  using c = node_config;
  using namespace settings;
  std::array all{
      bind(settings::node, &c::node),
      bind(data_dir, &c::data_dir),
      bind(certs_dir, &c::certs_dir),
      bind(seeds, &c::seeds),
      bind(form, &c::form),
      bind(peer_listen, &c::peer_listen),
      bind(peer_advertise, &c::peer_advertise),
      bind(client_listen, &c::client_listen),
      bind(client_advertise, &c::client_advertise),
      bind(admin_listen, &c::admin_listen),
      bind(shards, &c::shards),
      bind(replicas, &c::replicas),
      bind(kj_threads, &c::kj_threads),
      bind(caf_workers, &c::caf_workers),
      bind(caf_policy, &c::caf_policy),
      bind(caf_polling, &c::caf_polling),
      bind(threads_batch, &c::threads_batch),
      bind(election_timeout, &c::election_timeout),
      bind(raft_heartbeat, &c::raft_heartbeat),
      bind(link_heartbeat, &c::link_heartbeat),
      bind(link_timeout, &c::link_timeout),
      bind(row_check, &c::row_check),
      bind(login_deadline, &c::login_deadline),
      bind(write_deadline, &c::write_deadline),
      bind(resume_token_life, &c::resume_token_life),
      bind(call_timeout, &c::call_timeout),
      bind(passivate_after, &c::passivate_after),
      bind(connections_max, &c::connections_max),
      bind(connections_before_login_max, &c::connections_before_login_max),
      bind(delivery_queue_rows, &c::delivery_queue_rows),
      bind(delivery_queue_bytes, &c::delivery_queue_bytes),
      bind(user_sends_per_second, &c::user_sends_per_second),
      bind(user_sends_burst, &c::user_sends_burst),
      bind(conversation_sends_per_second, &c::conversation_sends_per_second),
      bind(conversation_sends_burst, &c::conversation_sends_burst),
      bind(codes_per_address, &c::codes_per_address),
      bind(codes_per_hour, &c::codes_per_hour),
      bind(disk_reserve, &c::disk_reserve),
      bind(map_bytes_max, &c::map_bytes_max),
      bind(code_sender, &c::code_sender),
      bind(code_authorization_file, &c::code_authorization_file),
      bind(code_life, &c::code_life),
      bind(log_level, &c::log_level),
      bind(log_format, &c::log_format),
      bind(drain_spread, &c::drain_spread),
      bind(drain_deadline, &c::drain_deadline),
  };
  static_assert(all.size() == field_count<node_config>(), "a field of node_config is missing in this table");
  return {all.begin(), all.end()};
}

} // namespace

std::string setting_entry::flag() const {
  std::string name = "--" + key;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '_'; }, '-');
  return name;
}

std::string setting_entry::variable() const {
  std::string name = "PARLEY_";
  for (const char c : key)
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

const std::vector<setting_entry>& setting_table() {
  static const auto all = make_table();
  return all;
}

std::string_view title(settings::topic t) {
  using settings::topic;
  switch (t) {
  case topic::identity:
    return "Identity and data";
  case topic::addresses:
    return "Addresses";
  case topic::shape:
    return "Shape of a new cluster";
  case topic::threads:
    return "Threads";
  case topic::timing:
    return "Timing";
  case topic::limits:
    return "Limits";
  case topic::registration:
    return "Registration";
  case topic::operations:
    return "Operations";
  }
  return {};
}

} // namespace parley::cluster
