// What /metrics says is Prometheus text, and is what cluster/node/README.md says it is.
#include "cluster/node/metrics.hpp"

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

struct family {
  std::string help;
  std::string type;
  std::set<std::string> labels; ///< of any of its series, `le` aside
  std::vector<std::pair<std::string, double>> series;
};

/// Reads the text format strictly; anything that a scraper could choke on fails the test.
std::map<std::string, family> parse(const std::string& text) {
  static const std::regex sample{R"(([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?)"};
  static const std::regex label{"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\\]|\\\\.)*)\",?"};
  std::map<std::string, family> out;
  std::map<std::string, std::string> helps;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) {
    CAPTURE(line);
    std::istringstream words{line};
    std::string hash, keyword, name;
    words >> hash >> keyword >> name;
    if (hash == "#") {
      std::string rest;
      std::getline(words, rest);
      REQUIRE(rest.size() > 1);
      if (keyword == "HELP") {
        REQUIRE(helps.emplace(name, rest.substr(1)).second);
      } else {
        REQUIRE(keyword == "TYPE");
        REQUIRE(helps.contains(name));
        REQUIRE(out.emplace(name, family{helps.at(name), rest.substr(1), {}, {}}).second);
      }
      continue;
    }
    std::smatch m;
    REQUIRE(std::regex_match(line, m, sample));
    auto owner = m[1].str();
    for (const std::string suffix : {"_bucket", "_sum", "_count"})
      if (owner.ends_with(suffix) && out.contains(owner.substr(0, owner.size() - suffix.size())))
        owner.resize(owner.size() - suffix.size());
    REQUIRE_MESSAGE(out.contains(owner), "a sample without HELP and TYPE");
    auto& f = out[owner];
    REQUIRE((owner == m[1].str()) == (f.type != "histogram"));
    const auto labels = m[2].str();
    std::size_t read = 0;
    for (std::sregex_iterator i{labels.begin(), labels.end(), label}, end; i != end; ++i) {
      read += static_cast<std::size_t>(i->length());
      if ((*i)[1] != "le")
        f.labels.insert((*i)[1]);
    }
    CHECK(read == labels.size());
    std::size_t used = 0;
    const auto value = std::stod(m[3].str(), &used);
    CHECK(used == m[3].str().size());
    f.series.emplace_back(m[1].str() + "{" + labels + "}", value);
  }
  return out;
}

/// A node to which everything has happened once.
struct busy_node {
  gateway::gateway_metrics clients;
  commit_metrics commits;
  depths waiting;
  router_counters router;
  fan_out_counters fan_outs;
  refused_calls refused;
  node_snapshot now;

  busy_node() {
    add(clients.send_errors[error_row(ec::rate_limited)], 2);
    add(refused.calls_of_nodes, 3);
    add(clients.closes[static_cast<std::size_t>(transport::close_reason::idle)]);
    clients.applied_to_written.observe(3ms);
    clients.applied_to_written.observe(1h); // above the last bucket
    commits.committed(0, 1us);
    commits.committed(5, 400us);
    commits.committed(1'000'000, 2ms);
    add(waiting.delivery_queues.rows, 7);
    now.storage.commits = 3;
    now.storage.rows = 40;
    now.storage.batches[4] = 2;
    now.storage.batches[15] = 1;
    for (std::uint16_t s = 0; s < 2; ++s) {
      replica_status r;
      r.shard = shard_id{s};
      r.commit_index = 3; // `behind` must not wrap below zero
      r.applied_index = s * 5u;
      now.replicas.push_back(r);
    }
    now.certificates.push_back({"client", "client.pem", calendar_time{1'900'000'000s}});
    now.at = gateway::pulse_clock::time_point{} + 1h;
    now.gateways = {{now.at - 500ms, now.at - 20s}, {now.at, now.at, true}};
    now.links.push_back({node_id{2}, true, 5, 6, 7, 8, 9, 0, 1});
  }
  std::string text() const {
    return prometheus::TextSerializer{}.Serialize(
        collect({now, true, true, clients, commits, waiting, router, fan_outs, refused}));
  }
};

double value(const family& f, const std::string& series) {
  for (const auto& [name, v] : f.series)
    if (name == series)
      return v;
  FAIL("no series " << series);
  return 0;
}

} // namespace

TEST_CASE(
    "every sample belongs to a family with HELP and TYPE, also on a node to which nothing has happened yet") {
  const gateway::gateway_metrics clients;
  const commit_metrics commits;
  const depths waiting;
  const router_counters router;
  const fan_out_counters fan_outs;
  const refused_calls refused;
  const auto idle = prometheus::TextSerializer{}.Serialize(
      collect({{}, false, false, clients, commits, waiting, router, fan_outs, refused}));
  CHECK(parse(idle).size() == parse(busy_node{}.text()).size());
}

TEST_CASE("the table in the README has every metric with its type, labels and HELP text, and no other") {
  struct row {
    std::string type, label, meaning;
  };
  std::ifstream in{std::string{PARLEY_SOURCE_DIR} + "/cluster/node/README.md"};
  static const std::regex line_of_table{
      R"(\| `([a-z_]+)(?:\{([a-z]+)\})?` \| (gauge|counter|histogram) \| (.*) \|)"};
  std::map<std::string, row> documented;
  bool here = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## "))
      here = line == "## Metrics";
    std::smatch m;
    if (here && std::regex_match(line, m, line_of_table))
      CHECK(documented.emplace("parley_" + m[1].str(), row{m[3], m[2], m[4]}).second);
  }
  REQUIRE(documented.size() > 20);
  const auto exported = parse(busy_node{}.text());
  for (const auto& [name, f] : exported) {
    CAPTURE(name);
    CHECK(f.labels.size() <= 1);
    CHECK(documented[name].type == f.type);
    CHECK(documented[name].label == (f.labels.empty() ? "" : *f.labels.begin()));
    CHECK(documented[name].meaning.substr(0, f.help.size()) == f.help); // it may go on
  }
  for (const auto& [name, what] : documented) {
    CAPTURE(name);
    CHECK(exported.contains(name));
  }
}

TEST_CASE("a HELP text is a sentence: a capital, at least five words, a full stop") {
  for (const auto& [name, f] : parse(busy_node{}.text())) {
    CAPTURE(name);
    CAPTURE(f.help);
    CHECK(std::isupper(static_cast<unsigned char>(f.help.front())));
    CHECK(f.help.back() == '.');
    CHECK(std::count(f.help.begin(), f.help.end(), ' ') >= 4);
  }
}

TEST_CASE(
    "a histogram's buckets only rise, end in +Inf with the count, and count a number where it belongs") {
  const busy_node node;
  const auto all = parse(node.text());
  for (const auto& [name, f] : all) {
    if (f.type != "histogram")
      continue;
    CAPTURE(name);
    double last = 0, count = -1, inf = -2;
    for (const auto& [series, v] : f.series) {
      if (series.starts_with(name + "_bucket")) {
        CHECK(v >= last);
        last = v;
        if (series.find("+Inf") != std::string::npos)
          inf = v;
      } else if (series.starts_with(name + "_count")) {
        count = v;
      }
    }
    CHECK(inf == count);
  }
  const auto& commands = all.at("parley_commit_commands");
  CHECK(value(commands, "parley_commit_commands_bucket{le=\"0\"}") == 1);
  CHECK(value(commands, "parley_commit_commands_bucket{le=\"3\"}") == 1);
  CHECK(value(commands, "parley_commit_commands_bucket{le=\"7\"}") == 2);
  CHECK(value(commands, "parley_commit_commands_sum{}") == 1'000'005);
  const auto& rows = all.at("parley_storage_batch_rows");
  CHECK(value(rows, "parley_storage_batch_rows_bucket{le=\"8\"}") == 0);
  CHECK(value(rows, "parley_storage_batch_rows_bucket{le=\"16\"}") == 2);
  CHECK(value(all.at("parley_commit_to_socket_seconds"), "parley_commit_to_socket_seconds_count{}") == 2);
}

TEST_CASE("labels come from bounded sets: reasons, errors, roles, shards, nodes and threads") {
  const busy_node node;
  const auto all = parse(node.text());
  CHECK(all.at("parley_connections_closed_total").series.size() == transport::close_reasons - 1);
  CHECK(value(all.at("parley_connections_closed_total"),
              "parley_connections_closed_total{reason=\"idle\"}") == 1);
  CHECK(all.at("parley_send_errors_total").series.size() == 1);
  CHECK(value(all.at("parley_calls_refused_total"), "parley_calls_refused_total{limit=\"calls_of_nodes\"}") ==
        3);
  CHECK(value(all.at("parley_certificate_end_seconds"),
              "parley_certificate_end_seconds{certificate=\"client\"}") == 1'900'000'000);
  const auto& still = all.at("parley_gateway_still_seconds");
  CHECK(still.series.size() == 2);
  CHECK(value(still, "parley_gateway_still_seconds{thread=\"1\"}") == 0.5);
  const auto& accepting = all.at("parley_accepting_still_seconds");
  CHECK(accepting.series.size() == 1); // the other one drains
  CHECK(value(accepting, "parley_accepting_still_seconds{thread=\"1\"}") == 20);
  CHECK(value(all.at("parley_shard_behind"), "parley_shard_behind{shard=\"1\"}") == 0);
  CHECK(value(all.at("parley_shard_behind"), "parley_shard_behind{shard=\"0\"}") == 3);
}
