// `parley top`: what the nodes say about themselves, again and again.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/metrics_text.hpp"
#include "protocol/client/tool/output.hpp"
#include "protocol/client/tool/table_fit.hpp"
#include "protocol/client/tool/terminal_text.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <thread>

namespace parley::tool {
namespace {

struct options {
  std::string admin = "127.0.0.1:7200";
  std::string ca, certificate, key; ///< of the admin authority; empty: plain HTTP
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

/// The page, or why there is none.
struct look {
  std::optional<metrics_text> page;
  std::string why;
  std::chrono::steady_clock::time_point at{};
};

look fetch(const std::string& address, const options& o) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl{curl_easy_init(), curl_easy_cleanup};
  std::string text;
  const auto url = fmt::format("{}://{}/metrics", o.ca.empty() ? "http" : "https", address);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 1'000L);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*"); // a node beside us is no business of a proxy's
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  if (!o.ca.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_CAINFO, o.ca.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_SSLCERT, o.certificate.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_SSLKEY, o.key.c_str());
  }
  long code = 0;
  const auto result = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  look l;
  l.at = std::chrono::steady_clock::now();
  if (result != CURLE_OK)
    l.why =
        result == CURLE_OPERATION_TIMEDOUT ? "does not answer within a second" : curl_easy_strerror(result);
  else if (code != 200)
    l.why = fmt::format("answers with status {}: is this an admin port?", code);
  else
    l.page = metrics_text{text};
  return l;
}

/// How a column comes from a metric: its sum now, its growth a second, or a quantile of what has come since.
enum class how : std::uint8_t { now, per_second, p50, p99 };
struct column {
  const char* title;
  const char* json;
  const char* metric;
  int rank; ///< where not all fit, those with the lowest are left out first
  how from = how::now;
  double scale = 1;
  bool total = true; ///< means something for all nodes together
};
constexpr std::array table_columns{
    column{"devices", "sessions", "parley_sessions", 10},
    column{"leads", "shards_led", "parley_replicas{role=\"leader\"}", 12},
    column{"peers", "peers_up", "parley_link_up", 11, how::now, 1, false},
    column{"sends/s", "sends_per_s", "parley_sends_total", 9, how::per_second},
    column{"errs/s", "send_errors_per_s", "parley_send_errors_total", 8, how::per_second},
    column{"rows/s", "rows_delivered_per_s", "parley_rows_delivered_total", 4, how::per_second},
    column{"waiting", "delivery_queue_rows", "parley_delivery_queue_rows", 6},
    column{"out50", "commit_to_socket_p50_ms", "parley_commit_to_socket_seconds", 2, how::p50, 1e3, false},
    column{"out99", "commit_to_socket_p99_ms", "parley_commit_to_socket_seconds", 7, how::p99, 1e3, false},
    column{"batch/s", "commits_per_s", "parley_commit_seconds_count", 1, how::per_second},
    column{"batch99", "commit_p99_ms", "parley_commit_seconds", 5, how::p99, 1e3, false},
    column{"MiB", "storage_used_mib", "parley_storage_bytes{part=\"used\"}", 3, how::now, 1.0 / (1 << 20)},
};

/// What stands below the table, each as long as one of its columns is shown.
struct legend {
  std::string_view of;
  std::string_view text;
};
constexpr std::array legends{
    legend{"waiting", "waiting: rows for clients"},
    legend{"out99", "out50, out99: ms from commit to socket"},
    legend{"batch99", "batch99: ms of a commit, its sync included"},
};

std::optional<double> value(const column& c, const look& now, const look& before) {
  const metrics_text none;
  const auto& page = *now.page;
  const auto& old = before.page ? *before.page : none;
  const auto sum = page.sum(c.metric);
  switch (c.from) {
  case how::now:
    return sum ? std::optional{*sum * c.scale} : std::nullopt;
  case how::per_second: {
    const auto was = old.sum(c.metric);
    const auto seconds = std::chrono::duration<double>(now.at - before.at).count();
    // A metric whose series appear when something happens may not have been there; a restart counts from 0.
    if (!before.page || !sum || seconds <= 0 || *sum < was.value_or(0))
      return before.page && !sum ? std::optional{0.0} : std::nullopt;
    return (*sum - was.value_or(0)) / seconds * c.scale;
  }
  case how::p50:
  case how::p99: {
    const auto q = page.quantile(c.metric, c.from == how::p50 ? 0.5 : 0.99, old);
    return q ? std::optional{*q * c.scale} : std::nullopt;
  }
  }
  return std::nullopt;
}

std::string text(const column& c, const std::optional<double>& v) {
  if (!v || !std::isfinite(*v))
    return "–";
  const bool whole = c.from == how::now && c.scale == 1;
  return !whole && *v > 0 && *v < 9.95 ? fmt::format("{:.1f}", *v) : fmt::format("{:.0f}", *v);
}

constexpr std::size_t state_width = 7;

std::size_t width_of(const column& c) {
  return std::string_view{c.title}.size() + 2;
}

/// Right-aligned under its title; the dash is one character and three bytes.
std::string cell(const column& c, const std::string& t) {
  const auto width = width_of(c);
  const auto used = t == "–" ? 1 : t.size();
  return std::string(width > used ? width - used : 1, ' ') + t;
}

struct node {
  std::string address;
  look before;
};

class watch {
public:
  watch(const options& o, context& shared) : options_{o}, json_{shared.json}, out_{shared.out} {
    auto addresses = client::parse_seeds(o.admin);
    if (!addresses)
      throw stop{status::usage, addresses.error().sentence};
    if (!o.ca.empty() && (o.certificate.empty() || o.key.empty()))
      throw stop{status::usage,
                 "--admin-ca needs --admin-cert and --admin-key as well: the admin port asks who you are."};
    for (const auto& a : *addresses)
      nodes_.push_back({transport::to_string(a), {}});
    for (const auto& n : nodes_)
      address_width_ = std::max(address_width_, n.address.size() + 2);
  }

  void run() {
    for (auto& n : nodes_) // rates need a first look to compare with
      n.before = fetch(n.address, options_);
    for (unsigned round = 1; (options_.times == 0 || round <= options_.times) && !out_.failed(); ++round) {
      std::this_thread::sleep_for(
          std::chrono::duration<double>{round == 1 ? std::min(1.0, options_.every) : options_.every});
      if (show() == 0 && round == options_.times)
        throw stop{status::unreachable,
                   "No node answers. Check that --admin names admin ports (--admin-listen of parleyd)."};
    }
  }

private:
  /// Answers how many nodes did.
  unsigned show() {
    look_at_width();
    std::vector<std::string> lines;
    lines.push_back(head());
    std::array<std::optional<double>, table_columns.size()> totals;
    unsigned answered = 0;
    for (auto& n : nodes_) {
      auto now = fetch(n.address, options_);
      json_line json;
      json.put("node", n.address).put("up", now.page.has_value());
      auto line = fmt::format("{:<{}}", n.address, address_width_);
      if (now.page) {
        ++answered;
        const bool ready = now.page->sum("parley_ready") == 1;
        json.put("ready", ready);
        line += fmt::format("{}{:<{}}{}", ready ? colours_.green : colours_.red, ready ? "ready" : "not yet",
                            state_width, colours_.reset);
        for (std::size_t i = 0; i < table_columns.size(); ++i) {
          const auto v = value(table_columns[i], now, n.before);
          if (shown_[i])
            line += cell(table_columns[i], text(table_columns[i], v));
          v ? json.put(table_columns[i].json, *v) : json.raw(table_columns[i].json, "null");
          if (v && table_columns[i].total)
            totals[i] = totals[i].value_or(0) + *v;
        }
      } else {
        line += fmt::format("{}{}{}", colours_.red, now.why, colours_.reset);
        json.put("why", now.why);
      }
      n.before = std::move(now);
      lines.push_back(std::move(line));
      if (json_)
        json.print(out_);
    }
    if (nodes_.size() > 1) {
      auto line = fmt::format("{}{:<{}}", colours_.bold, "all", address_width_ + state_width);
      for (std::size_t i = 0; i < table_columns.size(); ++i)
        if (shown_[i])
          line += cell(table_columns[i], table_columns[i].total ? text(table_columns[i], totals[i]) : "");
      lines.push_back(line + std::string{colours_.reset});
    }
    if (!json_)
      draw(std::move(lines));
    return answered;
  }

  std::string head() const {
    auto line = fmt::format("{}{:<{}}", colours_.bold, "node", address_width_ + state_width);
    for (std::size_t i = 0; i < table_columns.size(); ++i)
      if (shown_[i])
        line += cell(table_columns[i], table_columns[i].title);
    return line + std::string{colours_.reset};
  }

  /// A terminal may be resized at any time; a file gets all columns.
  void look_at_width() {
    winsize window{};
    width_ = terminal_ && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col != 0
                 ? window.ws_col
                 : std::numeric_limits<std::size_t>::max();
    std::array<table_column, table_columns.size()> table;
    for (std::size_t i = 0; i < table_columns.size(); ++i)
      table[i] = {width_of(table_columns[i]), table_columns[i].rank};
    shown_ = fitting(table, width_ - std::min(width_, address_width_ + state_width));
  }

  std::vector<std::string> legend_lines() const {
    const auto is_shown = [&](std::string_view title) {
      for (std::size_t i = 0; i < table_columns.size(); ++i)
        if (table_columns[i].title == title)
          return bool{shown_[i]};
      return false;
    };
    std::vector<std::string> words;
    for (const auto& l : legends)
      if (is_shown(l.of))
        words.emplace_back(l.text);
    words.emplace_back("Ctrl-C ends");
    auto out = lines_of(words, " · ", width_);
    std::vector<std::string> hidden;
    for (std::size_t i = 0; i < table_columns.size(); ++i)
      if (!shown_[i])
        hidden.push_back((hidden.empty() ? "a wider terminal shows also: " : "") +
                         std::string{table_columns[i].title});
    std::ranges::move(lines_of(hidden, ", ", width_), std::back_inserter(out));
    return out;
  }

  void draw(std::vector<std::string> lines) const {
    if (terminal_) {
      lines.emplace_back();
      for (const auto& l : legend_lines())
        lines.push_back(fmt::format("{}{}{}", colours_.dim, l, colours_.reset));
      out_.put(drawn_over(lines));
      return;
    }
    std::string out;
    for (const auto& l : lines)
      out += l + "\n";
    out_.put(out);
  }

  const options& options_;
  bool json_;
  bool terminal_ = ::isatty(STDOUT_FILENO) != 0;
  standard_output& out_;
  palette colours_ = palette::for_stdout();
  std::size_t address_width_ = 6; ///< of the longest, and a gap
  std::size_t width_ = 0;         ///< of the terminal
  std::vector<bool> shown_;       ///< by column
  std::vector<node> nodes_;
};

} // namespace

command top_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "top",
      .summary = "Watch the nodes: devices, traffic, leaderships, commits and delays",
      .details = R"(The columns, for each node:
  devices   devices that are logged in at this node
  leads     shards that this node leads
  peers     other nodes that it is connected to
  sends/s   messages that clients handed in, per second
  errs/s    of these, how many were refused, per second
  rows/s    inbox rows that were written to clients' sockets, per second
  waiting   inbox rows that wait for clients' sockets
  out50/99  milliseconds from a row's commit to its client's socket: half of the rows, and 99 % of them, took less
  batch/s   commits to the disk, per second
  batch99   milliseconds of a commit, the sync included: 99 % of the commits took less
  MiB       size of the data files in use
)"
                 "Rates and times cover what happened since the line before. On a terminal that is too "
                 "narrow for all columns, the last ones to go are leads, peers and devices; a line below the "
                 "table names those that are missing.\n\n"
                 R"(Examples:
  parley top --admin 127.0.0.1:7201,127.0.0.1:7202,127.0.0.1:7203
  parley top --json --times 1
)",
      .options = {{.name = "--admin",
                   .unit = "HOST:PORT,...",
                   .help = "The admin ports of the nodes (--admin-listen of parleyd), separated by commas.",
                   .value = &o->admin,
                   .environment = "PARLEY_ADMIN"},
                  {.name = "--admin-ca",
                   .unit = "FILE",
                   .help = "The certificate of the admin authority. It is needed for admin ports "
                           "that are not on loopback; give --admin-cert and --admin-key as well.",
                   .value = &o->ca,
                   .existing_file = true},
                  {.name = "--admin-cert",
                   .unit = "FILE",
                   .help = "A certificate that the admin authority has signed for you.",
                   .value = &o->certificate,
                   .existing_file = true},
                  {.name = "--admin-key",
                   .unit = "FILE",
                   .help = "The private key of --admin-cert.",
                   .value = &o->key,
                   .existing_file = true},
                  {.name = "--every",
                   .unit = "SECONDS",
                   .help = "The time between two readings, in seconds. Raise it for a calmer picture.",
                   .value = &o->every,
                   .bounds = std::pair{0.1, 3'600.0}},
                  {.name = "--times",
                   .unit = "NUMBER",
                   .help = "How many readings to show; 0 shows them until the command is stopped.",
                   .value = &o->times}},
      .uses_profile = false,
      .run =
          [o, &shared] {
            watch{*o, shared}.run();
          },
  };
}

} // namespace parley::tool
