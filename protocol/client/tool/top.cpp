// `parley top`: what the nodes say about themselves, again and again.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/metrics_text.hpp"
#include "protocol/client/tool/output.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

namespace parley::tool {
namespace {

struct options {
  std::string admin = "127.0.0.1:7200";
  double every = 1;
  unsigned times = 0;
};

std::size_t collect(char* data, std::size_t size, std::size_t n, void* into) {
  constexpr std::size_t page_bytes_max = 8 << 20;
  auto& text = *static_cast<std::string*>(into);
  if (text.size() + size * n > page_bytes_max)
    return 0;
  text.append(data, size * n);
  return size * n;
}

std::optional<std::string> fetch(const std::string& url) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl{curl_easy_init(), curl_easy_cleanup};
  std::string text;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 1'000L);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*"); // a node beside us is no business of a proxy's
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  long code = 0;
  if (curl_easy_perform(curl.get()) != CURLE_OK ||
      curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code) != CURLE_OK || code != 200)
    return std::nullopt;
  return text;
}

/// A column shows the sum of a metric's series, or one of them; `per_second` its growth.
struct column {
  const char* title;
  const char* json;
  const char* metric;
  bool per_second = false;
  double scale = 1;
};
constexpr column columns[] = {
    {"conns", "connections", "parley_connections"},
    {"leads", "shards_led", "parley_replicas{role=\"leader\"}"},
    {"peers", "peers_up", "parley_link_up"},
    {"sends/s", "sends_per_s", "parley_sends_total", true},
    {"errors/s", "send_errors_per_s", "parley_send_errors_total", true},
    {"rows/s", "rows_delivered_per_s", "parley_rows_delivered_total", true},
    {"cmds/s", "commands_per_s", "parley_commands_applied_total", true},
    {"commits/s", "commits_per_s", "parley_storage_commits_total", true},
    {"sync %", "sync_percent", "parley_commit_seconds_sum", true, 100},
    {"used MiB", "storage_used_mib", "parley_storage_bytes{part=\"used\"}", false, 1.0 / (1 << 20)},
};

struct node {
  std::string address;
  metrics_text before;
  std::chrono::steady_clock::time_point at{};
};

std::string cell(const column& c, const node& n, const metrics_text& now, double seconds) {
  const auto value = now.sum(c.metric);
  if (!value)
    return "–";
  if (!c.per_second)
    return fmt::format("{:.0f}", *value * c.scale);
  const auto old = n.before.sum(c.metric);
  if (!old || seconds <= 0 || *value < *old) // its first look, or a restart
    return "–";
  return fmt::format("{:.0f}", (*value - *old) / seconds * c.scale);
}

void run(const options& o, const context& shared) {
  auto addresses = client::parse_seeds(o.admin);
  if (!addresses)
    throw stop{status::usage, addresses.error().sentence};
  std::vector<node> nodes;
  for (const auto& a : *addresses)
    nodes.push_back({transport::to_string(a), {}, {}});
  const auto colours = palette::for_stdout();
  const bool terminal = ::isatty(STDOUT_FILENO) != 0 && !shared.json;
  for (unsigned round = 0; o.times == 0 || round < o.times; ++round) {
    if (round > 0)
      std::this_thread::sleep_for(std::chrono::duration<double>{o.every});
    std::string table = terminal ? "\x1b[H\x1b[2J" : "";
    table += fmt::format("{}{:<22}", colours.bold, "node");
    for (const auto& c : columns)
      table += fmt::format("{:>11}", c.title);
    table += fmt::format("{}\n", colours.reset);
    unsigned answered = 0;
    for (auto& n : nodes) {
      const auto text = fetch(fmt::format("http://{}/metrics", n.address));
      const auto at = std::chrono::steady_clock::now();
      json_line json;
      json.put("node", n.address).put("up", text.has_value());
      table += fmt::format("{:<22}", n.address);
      if (text) {
        ++answered;
        metrics_text now{*text};
        const auto seconds = std::chrono::duration<double>(at - n.at).count();
        for (const auto& c : columns) {
          const auto value = cell(c, n, now, seconds);
          table += std::string(11 - std::min<std::size_t>(11, value == "–" ? 1 : value.size()), ' ') + value;
          json.raw(c.json, value == "–" ? "null" : value);
        }
        n.before = std::move(now);
        n.at = at;
      } else {
        table += fmt::format("{}  does not answer{}", colours.red, colours.reset);
        n.before = {};
      }
      table += '\n';
      if (shared.json)
        json.print();
    }
    if (!shared.json) {
      std::fwrite(table.data(), 1, table.size(), stdout);
      std::fflush(stdout);
    }
    if (o.times != 0 && round + 1 == o.times && answered == 0)
      throw stop{status::unreachable,
                 "No node answers. Are these the admin ports (--admin-listen of parleyd)?"};
  }
}

} // namespace

void add_top(CLI::App& app, context& shared) {
  auto* sub = app.add_subcommand("top", "Watch the nodes: connections, traffic, leaderships, commits");
  sub->fallthrough();
  const auto o = std::make_shared<options>();
  sub->add_option("--admin", o->admin, "Admin ports: host:port,host:port")
      ->envname("PARLEY_ADMIN")
      ->capture_default_str();
  sub->add_option("--every", o->every, "Seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  sub->add_option("--times", o->times, "So many looks; 0: until stopped")->capture_default_str();
  sub->footer("Example:\n  parley top --admin 127.0.0.1:7201,127.0.0.1:7202,127.0.0.1:7203");
  sub->callback([o, &shared] { run(*o, shared); });
}

} // namespace parley::tool
