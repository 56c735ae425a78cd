#include "cluster/metrics.hpp"

#include "protocol/values/errors.hpp"

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
  page& value(double v, std::vector<std::pair<std::string, std::string>> labels = {}) {
    auto m = metric(std::move(labels));
    if (out_.back().type == MetricType::Counter)
      m.counter.value = v;
    else
      m.gauge.value = v;
    out_.back().metric.push_back(std::move(m));
    return *this;
  }
  page& histogram(const gateway::duration_histogram& h) {
    auto m = metric();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < h.buckets.size(); ++i) {
      total += h.buckets[i].load(std::memory_order_relaxed);
      if (i + 1 < h.buckets.size())
        m.histogram.bucket.push_back({total, static_cast<double>(std::uint64_t{1} << i) / 1e6});
    }
    m.histogram.bucket.push_back({total, std::numeric_limits<double>::infinity()});
    m.histogram.sample_count = total;
    m.histogram.sample_sum = static_cast<double>(h.sum_us.load(std::memory_order_relaxed)) / 1e6;
    out_.back().metric.push_back(std::move(m));
    return *this;
  }

private:
  std::vector<MetricFamily>& out_;
};

double read(const gateway::counter& c) {
  return static_cast<double>(c.load(std::memory_order_relaxed));
}

void gateway_page(page& p, const gateway::gateway_metrics& g) {
  const auto counter = MetricType::Counter;
  const auto gauge = MetricType::Gauge;
  p.family("connections", "Client connections now.", gauge).value(read(g.connections));
  p.family("sessions", "Logged-in devices now.", gauge).value(read(g.sessions));
  p.family("connections_accepted_total", "Client connections.", counter).value(read(g.accepted));
  p.family("connections_refused_total", "Above a cap.", counter).value(read(g.refused));
  p.family("handshakes_failed_total", "TLS.", counter).value(read(g.handshakes_failed));
  p.family("logins_total", "By outcome.", counter)
      .value(read(g.logins), {{"outcome", "ok"}})
      .value(read(g.logins_failed), {{"outcome", "failed"}});
  p.family("calls_total", "Client calls of all kinds.", counter).value(read(g.calls));
  p.family("sends_total", "Messages handed in.", counter).value(read(g.sends));
  p.family("send_errors_total", "Messages refused, by error.", counter);
  for (std::size_t i = 1; i < g.send_errors.size(); ++i)
    if (const auto n = read(g.send_errors[i]); n > 0)
      p.value(n, {{"error", std::string{describe(static_cast<ec>(i)).name}}});
  p.family("rows_delivered_total", "Inbox rows taken to clients.", counter).value(read(g.rows_delivered));
  p.family("wire_bytes_total", "On client connections.", counter)
      .value(read(g.bytes_in), {{"direction", "in"}})
      .value(read(g.bytes_out), {{"direction", "out"}});
  p.family("outbox_to_socket_seconds", "From leaving the outbox until the kernel has it.",
           MetricType::Histogram)
      .histogram(g.taken_to_written);
}

void replica_page(page& p, const std::vector<replica_status>& replicas) {
  std::array<int, 8> roles{};
  for (const auto& r : replicas)
    ++roles.at(static_cast<std::size_t>(r.as));
  constexpr std::array names{"follower", "candidate", "leader", "installing", "sealed", "waiting_for_state"};
  p.family("replicas", "Replicas on this node, by role.", MetricType::Gauge);
  for (std::size_t i = 0; i < names.size(); ++i)
    p.value(roles[i], {{"role", names[i]}});
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

std::vector<MetricFamily> collect(node& it) {
  std::vector<MetricFamily> out;
  page p{out};
  const auto now = it.snapshot();
  p.family("ready", "1 if every replica here knows a leader.", MetricType::Gauge).value(now.serving ? 1 : 0);
  gateway_page(p, it.metrics());
  replica_page(p, now.replicas);
  p.family("commit_seconds", "Of a storage transaction, sync included.", MetricType::Histogram)
      .histogram(it.commits().sync());
  p.family("commands_applied_total", "Commands proposed here and applied.", MetricType::Counter)
      .value(static_cast<double>(it.commits().commands()));
  const auto& s = now.storage;
  p.family("storage_commits_total", "Transactions.", MetricType::Counter)
      .value(static_cast<double>(s.commits));
  p.family("storage_rows_total", "Rows put or erased: by commits, the batch size.", MetricType::Counter)
      .value(static_cast<double>(s.rows));
  p.family("storage_bytes", "Of the data file.", MetricType::Gauge)
      .value(static_cast<double>(s.used_bytes), {{"part", "used"}})
      .value(static_cast<double>(s.free_bytes), {{"part", "free"}});
  p.family("link_up", "Another node can be reached.", MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(l.connected ? 1 : 0, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_bytes_waiting", "Queued or not acknowledged.", MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(static_cast<double>(l.bytes_waiting), {{"peer", std::to_string(number(l.peer))}});
  p.family("link_bytes_total", "Sent to another node.", MetricType::Counter);
  for (const auto& l : now.links)
    p.value(static_cast<double>(l.bytes_sent), {{"peer", std::to_string(number(l.peer))}});
  return out;
}

} // namespace parley::cluster
