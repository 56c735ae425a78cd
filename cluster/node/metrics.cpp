#include "cluster/node/metrics.hpp"

#include "protocol/transport/message_stream.hpp"
#include "protocol/values/errors.hpp"

#include <limits>

namespace parley::cluster {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric metric(std::vector<std::pair<std::string, std::string>> labels = {}) {
  ClientMetric m;
  for (auto& [name, value] : labels)
    m.label.push_back({std::move(name), std::move(value)});
  return m;
}

std::uint64_t read(const counter& c) {
  return c.load(std::memory_order_relaxed);
}

class page {
public:
  explicit page(std::vector<MetricFamily>& out) : out_{out} {}
  /// Starts a family; what follows belongs to it.
  page& family(std::string name, std::string help, MetricType type) {
    MetricFamily f;
    f.name = "parley_" + std::move(name);
    f.help = std::move(help);
    f.type = type;
    out_.push_back(std::move(f));
    return *this;
  }
  page& value(std::uint64_t v, std::vector<std::pair<std::string, std::string>> labels = {}) {
    return value(static_cast<double>(v), std::move(labels));
  }
  page& value(double v, std::vector<std::pair<std::string, std::string>> labels = {}) {
    auto m = metric(std::move(labels));
    if (out_.back().type == MetricType::Counter)
      m.counter.value = v;
    else
      m.gauge.value = v;
    out_.back().metric.push_back(std::move(m));
    return *this;
  }
  page& histogram(const duration_histogram& h) {
    auto m = metric();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i + 1 < h.buckets.size(); ++i) {
      total += read(h.buckets[i]);
      m.histogram.bucket.push_back({total, static_cast<double>(std::uint64_t{1} << i) / 1e6});
    }
    finish(m, total + read(h.buckets.back()), static_cast<double>(read(h.sum_us)) / 1e6);
    return *this;
  }
  page& histogram(const size_histogram& h) {
    auto m = metric();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i + 1 < h.buckets.size(); ++i) {
      total += read(h.buckets[i]);
      m.histogram.bucket.push_back({total, static_cast<double>((std::uint64_t{1} << i) - 1)});
    }
    finish(m, total + read(h.buckets.back()), static_cast<double>(read(h.sum)));
    return *this;
  }
  /// `batches[i]`: of at most 2^i rows.
  page& histogram(const storage::lmdb_stats& s) {
    auto m = metric();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i + 1 < s.batches.size(); ++i) {
      total += s.batches[i];
      m.histogram.bucket.push_back({total, static_cast<double>(std::uint64_t{1} << i)});
    }
    finish(m, total + s.batches.back(), static_cast<double>(s.rows));
    return *this;
  }

private:
  void finish(ClientMetric& m, std::uint64_t total, double sum) {
    m.histogram.bucket.push_back({total, std::numeric_limits<double>::infinity()});
    m.histogram.sample_count = total;
    m.histogram.sample_sum = sum;
    out_.back().metric.push_back(std::move(m));
  }
  std::vector<MetricFamily>& out_;
};

void gateway_page(page& p, const gateway::gateway_metrics& g) {
  const auto counter = MetricType::Counter;
  const auto gauge = MetricType::Gauge;
  p.family("connections", "Client connections now.", gauge).value(read(g.connections));
  p.family("sessions", "Logged-in devices now.", gauge).value(read(g.sessions));
  p.family("connections_accepted_total", "Client connections.", counter).value(read(g.accepted));
  p.family("connections_refused_total", "Above a cap.", counter).value(read(g.refused));
  p.family("connections_closed_total", "By the first reason.", counter);
  for (std::size_t i = 1; i < g.closes.size(); ++i)
    p.value(read(g.closes[i]),
            {{"reason", std::string{transport::name(static_cast<transport::close_reason>(i))}}});
  p.family("handshakes_failed_total", "TLS: refused, given up, or not in time.", counter)
      .value(read(g.handshakes_failed));
  p.family("accepts_paused_total", "Handshakes came too fast, or descriptors ran out.", counter)
      .value(read(g.accepts_paused));
  p.family("logins_total", "By outcome.", counter)
      .value(read(g.logins), {{"outcome", "ok"}})
      .value(read(g.logins_failed), {{"outcome", "failed"}});
  p.family("codes_sent_total", "Confirmation codes handed to the sender.", counter).value(read(g.codes_sent));
  p.family("registrations_total", "Devices registered here.", counter).value(read(g.registrations));
  p.family("limited_total", "Codes and registrations refused by a limit per address.", counter)
      .value(read(g.limited));
  p.family("calls_total", "Client calls of all kinds.", counter).value(read(g.calls));
  p.family("sends_total", "Messages handed in.", counter).value(read(g.sends));
  p.family("send_errors_total", "Messages refused, by error.", counter);
  for (std::size_t i = 1; i < g.send_errors.size(); ++i) // those that occurred: few of the table ever do
    if (const auto n = read(g.send_errors[i]); n > 0)
      p.value(n, {{"error", std::string{error_table()[i].name}}});
  p.family("internal_errors_total", "Calls that ended in a fault of the node.", counter)
      .value(read(g.internal_errors));
  p.family("rows_delivered_total", "Inbox rows taken to clients.", counter).value(read(g.rows_delivered));
  p.family("wire_bytes_total", "On client connections.", counter)
      .value(read(g.bytes_in), {{"direction", "in"}})
      .value(read(g.bytes_out), {{"direction", "out"}});
  p.family("commit_to_socket_seconds",
           "Of each pushed row: from its commit, where its inbox is led, until the kernel here has it.",
           MetricType::Histogram)
      .histogram(g.applied_to_written);
  p.family("delivery_queue_to_socket_seconds", "From leaving the delivery queue until the kernel has it.",
           MetricType::Histogram)
      .histogram(g.taken_to_written);
}

void storage_page(page& p, const node_snapshot& now) {
  const auto& s = now.storage;
  const auto& j = now.journal;
  const auto counter = MetricType::Counter;
  p.family("journal_syncs_total", "Records written and synced.", counter).value(j.syncs);
  p.family("journal_bytes_total", "Written to the journal.", counter).value(j.bytes);
  p.family("journal_sync_seconds_total", "Spent writing and syncing them.", counter)
      .value(static_cast<double>(j.sync_total.count()) / 1e6);
  p.family("storage_commits_total", "LMDB transactions: each takes over what the journal holds.", counter)
      .value(s.commits);
  p.family("storage_commit_seconds_total", "Spent in them.", counter)
      .value(static_cast<double>(s.commit_total.count()) / 1e6);
  p.family("storage_batch_rows", "Rows put or erased by one of them.", MetricType::Histogram).histogram(s);
  p.family("storage_readers_held_total", "Readers that had to wait for one.", counter).value(j.readers_held);
  p.family("storage_bytes", "Of the data file.", MetricType::Gauge)
      .value(s.used_bytes, {{"part", "used"}})
      .value(s.free_bytes, {{"part", "free"}});
}

void replica_page(page& p, const std::vector<replica_status>& replicas) {
  std::array<int, 8> roles{};
  for (const auto& r : replicas)
    ++roles.at(static_cast<std::size_t>(r.as));
  constexpr std::array names{"follower", "candidate", "leader", "installing", "sealed", "waiting_for_state"};
  p.family("replicas", "Replicas on this node, by role.", MetricType::Gauge);
  for (std::size_t i = 0; i < names.size(); ++i)
    p.value(static_cast<double>(roles[i]), {{"role", names[i]}});
  const auto each = [&](const char* name, const char* help, MetricType type, auto field) {
    p.family(name, help, type);
    for (const auto& r : replicas)
      p.value(static_cast<double>(field(r)), {{"shard", std::to_string(number(r.shard))}});
  };
  each("shard_term", "Raft term.", MetricType::Gauge, [](const auto& r) { return r.term; });
  each("shard_generation", "Which life of the shard.", MetricType::Gauge,
       [](const auto& r) { return number(r.gen); });
  each("shard_applied_total", "Log entries applied: a shard's traffic is this one's rate.",
       MetricType::Counter, [](const auto& r) { return r.applied_index; });
  each("shard_behind", "Log entries committed but not applied here.", MetricType::Gauge,
       [](const auto& r) { return r.commit_index - std::min(r.applied_index, r.commit_index); });
}

} // namespace

std::vector<MetricFamily> collect(const node_facts& facts) {
  std::vector<MetricFamily> out;
  page p{out};
  const auto& now = facts.now;
  p.family("ready", "1 if every replica here knows a leader and the node is not draining.", MetricType::Gauge)
      .value(std::uint64_t{facts.ready});
  gateway_page(p, facts.clients);
  p.family("delivery_queue_rows", "Waiting in memory for clients to take them.", MetricType::Gauge)
      .value(read(facts.waiting.delivery_queue_rows));
  p.family("debts", "Owed to other shards and not confirmed, of the shards led here.", MetricType::Gauge)
      .value(read(facts.waiting.owed));
  p.family("peer_payloads_refused_total",
           "Payloads of other nodes that could not be read or were of an unknown kind.", MetricType::Counter)
      .value(read(facts.router.payloads_refused));
  p.family("peer_payloads_unsent_total",
           "Payloads with answers or deliveries that the link to another node did not take.",
           MetricType::Counter)
      .value(read(facts.router.payloads_unsent));
  replica_page(p, now.replicas);
  p.family("commit_seconds", "Of a batch; its sync included, where it needs one.", MetricType::Histogram)
      .histogram(facts.commits.sync());
  p.family("commit_commands", "Commands proposed here and applied by one batch.", MetricType::Histogram)
      .histogram(facts.commits.commands());
  storage_page(p, now);
  p.family("link_up", "Another node can be reached.", MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(std::uint64_t{l.connected}, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_bytes_waiting", "Queued or not acknowledged.", MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(std::uint64_t{l.bytes_waiting}, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_bytes_total", "Sent to another node.", MetricType::Counter);
  for (const auto& l : now.links)
    p.value(l.bytes_sent, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_resets_total", "Sessions with another node that ended.", MetricType::Counter);
  for (const auto& l : now.links)
    p.value(l.resets, {{"peer", std::to_string(number(l.peer))}});
  return out;
}

} // namespace parley::cluster
