#include "cluster/node/node_pages.hpp"

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>

namespace parley::cluster {
namespace {

const char* role_name(replica_status::role r) {
  constexpr std::array names{"follower", "candidate",         "leader", "installing",
                             "sealed",   "waiting for state", "halted"};
  return names.at(static_cast<std::size_t>(r));
}

/// A reason may quote text of another node.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

constexpr auto head = R"(<!doctype html><html lang=en><meta charset=utf-8><title>Parley node {0}</title>
<meta http-equiv=refresh content=5><meta name=viewport content="width=device-width">
<style>
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222}}
h1{{font-size:1.5rem}}h2{{font-size:1.1rem;margin-top:2rem}}
b.ok{{color:#17722e}}b.no{{color:#a01818}}
table{{border-collapse:collapse}}td,th{{padding:.15rem .9rem .15rem 0;text-align:right}}
td.t,th.t{{text-align:left}}th{{border-bottom:1px solid #999;font-weight:600}}
</style>
<h1>Parley node {0}: <b class={1}>{2}</b></h1>
<p><a href=/metrics>metrics</a> · <a href=/readyz>readyz</a> · <a href=/wholez>wholez</a> · <a href=/healthz>healthz</a></p>
)";

} // namespace

node_snapshot node_pages::look(node& at) const {
  auto now = at.snapshot();
  if (certificates_)
    now.certificates = certificates_();
  for (const auto& c : now.certificates)
    now.client_certificate_ended |= c.name == "client" && c.until <= std::chrono::system_clock::now();
  return now;
}

admin_source::readiness node_pages::state_of(const node_snapshot& now) const {
  if (draining_)
    return {false, "draining: this node stops; clients reconnect to other nodes"};
  return ready_of(now);
}

std::optional<admin_source::readiness> node_pages::fence() {
  std::lock_guard guard{mutex_};
  if (fenced_.empty())
    return std::nullopt;
  return readiness{false, fenced_};
}

admin_source::readiness node_pages::starting() {
  std::lock_guard guard{mutex_};
  const auto why = waits_for_ ? waits_for_() : std::string{};
  return {false, "starting: " + (why.empty() ? "looking for the cluster among the seeds" : why)};
}

admin_source::readiness node_pages::state() {
  if (auto f = fence())
    return *f;
  if (auto* it = node_.load())
    return state_of(look(*it));
  return starting();
}

admin_source::readiness node_pages::whole() {
  if (auto f = fence())
    return *f;
  if (auto* it = node_.load())
    return whole_of(look(*it));
  return starting();
}

std::string node_pages::metrics() {
  auto* it = node_.load();
  if (fence())
    return fmt::format("# HELP parley_ready {}\n# TYPE parley_ready gauge\nparley_ready 0\n"
                       "# HELP parley_fenced {}\n# TYPE parley_fenced gauge\nparley_fenced 1\n",
                       ready_help, fenced_help);
  if (!it)
    return fmt::format("# HELP parley_ready {}\n# TYPE parley_ready gauge\nparley_ready 0\n", ready_help);
  auto now = look(*it);
  const bool ready = state_of(now).ready, whole = whole_of(now).ready;
  return prometheus::TextSerializer{}.Serialize(
      collect({std::move(now), ready, whole, it->metrics(), it->commits(), it->waiting(), it->routing(),
               it->paying(), it->refused()}));
}

std::string node_pages::page() {
  auto* it = fence() ? nullptr : node_.load();
  const auto now = it ? look(*it) : node_snapshot{};
  const auto how = it ? state_of(now) : state();
  auto html = fmt::format(head, number(self_), how.ready ? "ok" : "no", escaped(how.why));
  if (!it)
    return html;
  const auto& g = it->metrics();
  const auto leads = std::count_if(now.replicas.begin(), now.replicas.end(),
                                   [](const auto& r) { return r.as == replica_status::role::leader; });
  html += fmt::format("<h2>Now</h2><table>"
                      "<tr><td class=t>logged-in devices<td>{}<tr><td class=t>client connections<td>{}"
                      "<tr><td class=t>messages handed in since the start<td>{}"
                      "<tr><td class=t>rows waiting for clients<td>{}"
                      "<tr><td class=t>rows owed to other shards<td>{}"
                      "<tr><td class=t>replicas, of these leaders<td>{}, {}</table>\n",
                      g.sessions.load(), g.connections.load(), g.sends.load(),
                      it->waiting().delivery_queues.rows.load(), it->paying().owed.load(),
                      now.replicas.size(), leads);
  html += "<h2>Other nodes</h2><table><tr><th class=t>node<th class=t>link<th>bytes waiting</tr>\n";
  for (const auto& l : now.links)
    html += fmt::format("<tr><td class=t>{}<td class=t><b class={}>{}</b><td>{}</tr>\n", number(l.peer),
                        l.connected ? "ok" : "no", l.connected ? "up" : "down", l.bytes_waiting);
  html += "</table><h2>Shards</h2><table><tr><th>shard<th class=t>here<th>leader<th>term<th>generation"
          "<th>applied<th>behind</tr>\n";
  for (const auto& r : now.replicas)
    html += fmt::format(
        "<tr><td>{}<td class=t>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n", number(r.shard), role_name(r.as),
        r.leader == node_id::none ? "none" : std::to_string(number(r.leader)), r.term, number(r.gen),
        r.applied_index, r.commit_index - std::min(r.applied_index, r.commit_index));
  return html + "</table>\n";
}

} // namespace parley::cluster
