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
  /// Starts a family; the values that follow belong to it.
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
  /// `batches[i]` counts batches of at most 2^i rows.
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

void gateway_page(page& p, const gateway::gateway_metrics& g, const refused_calls& refused) {
  const auto counter = MetricType::Counter;
  const auto gauge = MetricType::Gauge;
  p.family("connections", "Client connections that are open now, logged in or not.", gauge)
      .value(read(g.connections));
  p.family("sessions", "Devices that are logged in through this node now.", gauge).value(read(g.sessions));
  p.family("connections_accepted_total", "Client connections that this node accepted.", counter)
      .value(read(g.accepted));
  p.family("connections_refused_total",
           "Client connections that were refused because a limit was reached, by the limit.", counter)
      .value(read(g.refused_full), {{"limit", "connections"}})
      .value(read(g.refused), {{"limit", "handshakes_of_address"}});
  p.family("connections_closed_total", "Client connections that were closed, by the first reason for it.",
           counter);
  for (std::size_t i = 1; i < g.closes.size(); ++i)
    p.value(read(g.closes[i]),
            {{"reason", std::string{transport::name(static_cast<transport::close_reason>(i))}}});
  p.family("handshakes_failed_total",
           "TLS handshakes of clients that failed, were given up by the client, or took too long.", counter)
      .value(read(g.handshakes_failed));
  p.family("accepts_paused_total",
           "Pauses in accepting clients, because handshakes came too fast or wait for their turn, or file "
           "descriptors ran out.",
           counter)
      .value(read(g.accepts_paused));
  p.family("logins_total", "Attempts of devices to log in or to resume a login, by outcome.", counter)
      .value(read(g.logins), {{"outcome", "ok"}})
      .value(read(g.logins_failed), {{"outcome", "failed"}});
  p.family("codes_sent_total", "Confirmation codes that were handed to the code sender.", counter)
      .value(read(g.codes_sent));
  p.family("registrations_total", "Devices that were registered through this node.", counter)
      .value(read(g.registrations));
  p.family("calls_refused_total",
           "Calls of clients that this node refused because a limit of its own was reached, by the limit.",
           counter);
  for (std::size_t i = 0; i < g.refused_at.size(); ++i)
    p.value(read(g.refused_at[i]), {{"limit", std::string{gateway::bound_names[i]}}});
  p.value(read(refused.rate_of_user), {{"limit", "rate_of_user"}})
      .value(read(refused.calls_of_session), {{"limit", "calls_of_session"}})
      .value(read(refused.calls_to_nodes), {{"limit", "calls_to_nodes"}})
      .value(read(refused.calls_of_nodes), {{"limit", "calls_of_nodes"}})
      .value(read(refused.residents), {{"limit", "residents"}})
      .value(read(refused.calls_of_resident), {{"limit", "calls_of_resident"}});
  p.family("calls_total", "Calls of clients of all kinds that this node received.", counter)
      .value(read(g.calls));
  p.family("sends_total", "Messages that clients asked this node to send.", counter).value(read(g.sends));
  p.family("send_errors_total",
           "Messages that this node refused or could not place, by the name of the error.", counter);
  for (std::size_t i = 1; i < g.send_errors.size(); ++i) // those that occurred: few of the table ever do
    if (const auto n = read(g.send_errors[i]); n > 0)
      p.value(n, {{"error", std::string{error_table()[i].name}}});
  p.family("internal_errors_total", "Calls that ended in a fault of this node; its log says more.", counter)
      .value(read(g.internal_errors));
  p.family("rows_delivered_total", "Inbox rows that were delivered to clients.", counter)
      .value(read(g.rows_delivered));
  p.family("wire_bytes_total", "Bytes received from clients and sent to clients, by direction.", counter)
      .value(read(g.bytes_in), {{"direction", "in"}})
      .value(read(g.bytes_out), {{"direction", "out"}});
  p.family("commit_to_socket_seconds",
           "Time from the commit of a pushed inbox row, where its inbox is led, until the kernel "
           "of the client's node has it.",
           MetricType::Histogram)
      .histogram(g.applied_to_written);
  p.family("delivery_queue_to_socket_seconds",
           "Time from when a pushed inbox row leaves its delivery queue until the kernel has it.",
           MetricType::Histogram)
      .histogram(g.taken_to_written);
}

void storage_page(page& p, const node_snapshot& now, bool has_room) {
  const auto& s = now.storage;
  const auto& j = now.journal;
  const auto counter = MetricType::Counter;
  p.family("journal_syncs_total", "Journal records that were written and synced to disk.", counter)
      .value(j.syncs);
  p.family("journal_bytes_total", "Bytes that were written to the journal.", counter).value(j.bytes);
  p.family("journal_sync_seconds_total", "Seconds spent in writing and syncing journal records.", counter)
      .value(static_cast<double>(j.sync_total.count()) / 1e6);
  p.family("storage_checkpoints_total",
           "Commits of LMDB that are on the disk and named by the journal, which needs nothing older.",
           counter)
      .value(j.checkpoints);
  p.family("storage_checkpoints_awaited_total",
           "Those that held up everything else: the journal was full, or too much had changed.", counter)
      .value(j.checkpoints_awaited);
  p.family("storage_commits_total", "LMDB transactions that were committed.", counter).value(s.commits);
  p.family("storage_commit_seconds_total", "Seconds spent in LMDB commits.", counter)
      .value(static_cast<double>(s.commit_total.count()) / 1e6);
  p.family("storage_batch_rows", "Rows that one LMDB transaction stored or erased.", MetricType::Histogram)
      .histogram(s);
  p.family(
       "storage_has_room",
       "Whether the disk has room for messages: 0 if the reserve (limits.disk_reserve) is reached, else 1.",
       MetricType::Gauge)
      .value(std::uint64_t{has_room});
  p.family("storage_bytes", "Bytes of the LMDB data file, by part.", MetricType::Gauge)
      .value(s.used_bytes, {{"part", "used"}})
      .value(s.free_bytes, {{"part", "free"}});
}

void replica_page(page& p, const std::vector<replica_status>& replicas) {
  std::array<int, 8> roles{};
  for (const auto& r : replicas)
    ++roles.at(static_cast<std::size_t>(r.as));
  constexpr std::array names{"follower", "candidate",         "leader", "installing",
                             "sealed",   "waiting_for_state", "halted"};
  p.family("replicas", "Replicas of shards on this node, by role.", MetricType::Gauge);
  for (std::size_t i = 0; i < names.size(); ++i)
    p.value(static_cast<double>(roles[i]), {{"role", names[i]}});
  const auto each = [&](const char* name, const char* help, MetricType type, auto field) {
    p.family(name, help, type);
    for (const auto& r : replicas)
      p.value(static_cast<double>(field(r)), {{"shard", std::to_string(number(r.shard))}});
  };
  each("shard_term", "Raft term of a shard as its replica here knows it; each election raises it.",
       MetricType::Gauge, [](const auto& r) { return r.term; });
  each("shard_generation",
       "Generation of a shard as its replica here knows it; each change of its members raises it.",
       MetricType::Gauge, [](const auto& r) { return number(r.gen); });
  each("shard_applied_total", "Log entries of a shard that its replica here has applied.",
       MetricType::Counter, [](const auto& r) { return r.applied_index; });
  each("shard_behind", "Log entries of a shard that are committed but not yet applied here.",
       MetricType::Gauge,
       [](const auto& r) { return r.commit_index - std::min(r.applied_index, r.commit_index); });
}

} // namespace

std::vector<MetricFamily> collect(const node_facts& facts) {
  std::vector<MetricFamily> out;
  page p{out};
  const auto& now = facts.now;
  p.family("ready", ready_help, MetricType::Gauge).value(std::uint64_t{facts.ready});
  p.family("fenced", fenced_help, MetricType::Gauge)
      .value(std::uint64_t{0}); // else there are no other metrics
  p.family("whole",
           "Whether the replicas here, and all members of the shards led here, are there and sound: 1 or 0.",
           MetricType::Gauge)
      .value(std::uint64_t{facts.whole});
  p.family("replicas_missing",
           "Replicas that the shards led here lack: members that do not answer, and members to be added.",
           MetricType::Gauge)
      .value(std::uint64_t{missing_replicas(now)});
  p.family("clock_difference_seconds",
           "Seconds by which most other nodes' clocks are ahead of this one's, if that is more than a "
           "minute; else 0.",
           MetricType::Gauge)
      .value(static_cast<double>(now.clock_difference_ms) / 1000);
  p.family("replicas_far_behind",
           "Replicas here, and members of the shards led here, that are far behind what is committed.",
           MetricType::Gauge)
      .value(std::uint64_t{replicas_far_behind(now)});
  const auto since = [&](auto then) { return std::chrono::duration<double>{now.at - then}.count(); };
  p.family("gateway_still_seconds", "Seconds since a gateway thread's loop turned, by thread.",
           MetricType::Gauge);
  for (std::size_t i = 0; i < now.gateways.size(); ++i)
    p.value(since(now.gateways[i].loop), {{"thread", std::to_string(i + 1)}});
  p.family("accepting_still_seconds",
           "Seconds since a gateway thread accepted all connections that waited, by thread.",
           MetricType::Gauge);
  for (std::size_t i = 0; i < now.gateways.size(); ++i)
    if (!now.gateways[i].drains)
      p.value(since(now.gateways[i].accepting), {{"thread", std::to_string(i + 1)}});
  gateway_page(p, facts.clients, facts.refused);
  p.family("delivery_queue_rows", "Inbox rows that wait in memory until clients take them.",
           MetricType::Gauge)
      .value(read(facts.waiting.delivery_queues.rows));
  p.family("debts", "Debts of shards led here that the other shards have not confirmed.", MetricType::Gauge)
      .value(read(facts.fan_outs.owed));
  p.family("debt_reads_failed_total",
           "Attempts to read what a shard owes to others from its rows that failed; until one succeeds, the "
           "shard's debts wait.",
           MetricType::Counter)
      .value(read(facts.fan_outs.reads_failed));
  p.family("debts_refused_total",
           "Parts of debts that another shard refused; they are sent again, unless it will never take them.",
           MetricType::Counter)
      .value(read(facts.fan_outs.refused));
  p.family("peer_payloads_refused_total",
           "Payloads of other nodes that were refused because they could not be read or were of "
           "an unknown kind, and answers that did not fit the call.",
           MetricType::Counter)
      .value(read(facts.router.payloads_refused));
  p.family(
       "raft_messages_refused_total",
       "Messages of replicas on other nodes that were refused because they could not be read, or were of an "
       "unknown kind or version.",
       MetricType::Counter)
      .value(read(facts.commits.refused()));
  p.family("raft_bytes_waiting", "Bytes of replicas on other nodes that this node's store has not taken yet.",
           MetricType::Gauge)
      .value(now.raft_bytes_waiting);
  p.family(
       "raft_bytes_left_out_total",
       "Bytes of replicas on other nodes that were left out because too many waited for this node's store.",
       MetricType::Counter)
      .value(now.raft_bytes_left_out);
  p.family("followers_forgot_total",
           "Replicas on other nodes that had less on their disk than they had confirmed to a leader here.",
           MetricType::Counter)
      .value(read(facts.commits.forgot()));
  p.family("peer_payloads_unsent_total",
           "Payloads with answers or deliveries that were dropped because the link to another "
           "node did not take them.",
           MetricType::Counter)
      .value(read(facts.router.payloads_unsent));
  p.family("shards_diverged",
           "Replicas here whose committed entries a leader on another node contradicted since the start.",
           MetricType::Gauge)
      .value(std::uint64_t{now.diverged.size()});
  replica_page(p, now.replicas);
  p.family("replicas_damaged", "Replicas of shards on this node of which a row does not match its checksum.",
           MetricType::Gauge)
      .value(std::uint64_t{facts.commits.damaged().size()});
  p.family("rows_checked_total",
           "Rows of replicas here that the check of all rows has read and compared with their checksums.",
           MetricType::Counter)
      .value(now.rows_checked);
  p.family("row_checks_total", "Passes of that check over all rows of this node.", MetricType::Counter)
      .value(now.row_checks);
  p.family("commit_seconds", "Duration of one batch commit, including its sync if it needs one.",
           MetricType::Histogram)
      .histogram(facts.commits.sync());
  p.family("commit_commands", "Commands proposed here that one batch commit applied.", MetricType::Histogram)
      .histogram(facts.commits.commands());
  storage_page(p, now, facts.commits.room());
  p.family("certificate_end_seconds",
           "When a certificate that this node uses ends, in seconds since 1970, by certificate.",
           MetricType::Gauge);
  for (const auto& c : now.certificates)
    p.value(std::chrono::duration<double>(c.until.time_since_epoch()).count(), {{"certificate", c.name}});
  p.family("link_up", "Whether another node can be reached: 1 if the link is up, else 0.", MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(std::uint64_t{l.connected}, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_versions_refused_total",
           "Calls of other nodes that were refused because they speak no version "
           "of the node protocol that this node speaks.",
           MetricType::Counter)
      .value(now.link_versions_refused);
  p.family("link_starts_refused_total",
           "Sessions with other nodes that were refused because the other node's data directory is an older "
           "copy of "
           "the one that was seen before, or runs twice.",
           MetricType::Counter)
      .value(now.link_starts_refused);
  p.family("link_bytes_waiting", "Bytes for another node that are queued or not yet acknowledged.",
           MetricType::Gauge);
  for (const auto& l : now.links)
    p.value(std::uint64_t{l.bytes_waiting}, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_bytes_total", "Bytes that were sent to another node.", MetricType::Counter);
  for (const auto& l : now.links)
    p.value(l.bytes_sent, {{"peer", std::to_string(number(l.peer))}});
  p.family("link_resets_total", "Sessions with another node that ended; the link opens a new one by itself.",
           MetricType::Counter);
  for (const auto& l : now.links)
    p.value(l.resets, {{"peer", std::to_string(number(l.peer))}});
  return out;
}

} // namespace parley::cluster
