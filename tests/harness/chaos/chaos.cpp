#include "tests/harness/chaos/chaos.hpp"

#include "tests/harness/chaos/chaos_load.hpp"
#include "tests/harness/chaos/checker.hpp"
#include "tests/harness/chaos/copy_trial.hpp"
#include "tests/harness/chaos/disk_trial.hpp"
#include "tests/harness/chaos/fault_scheduler.hpp"
#include "tests/harness/chaos/network_trial.hpp"
#include "tests/harness/chaos/probe.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace parley::chaos {

namespace {

using std::chrono::steady_clock;

milliseconds since(steady_clock::time_point t) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - t);
}

bool breaks_network(const chaos_options& o) {
  return o.with.contains(trial::partitions) || o.with.contains(trial::links);
}

/// One run: the cluster and its faults run on this thread, the clients on another one.
class chaos_run {
public:
  explicit chaos_run(const chaos_options& options)
      : options_{options}, cluster_{cluster_config(options)}, history_{cluster_.directory() + "/history"},
        load_{load_config_of(options, cluster_), history_,
              [this](const std::string& phone) { return cluster_.code_for(phone); }} {
    if (breaks_network(options))
      network_.emplace(cluster_, network_config_of(options), options.seed);
    if (options.with.contains(trial::disks)) {
      disk_config c;
      c.length = std::chrono::seconds{options.seconds};
      disks_.emplace(cluster_, c, options.seed);
    }
    if (options.with.contains(trial::copies)) {
      copies_.emplace(cluster_, copy_config_of(options), options.seed,
                      [this](const fault& f) { inflict(f); });
    }
  }

  int go(std::set<int>* broken);
  void keep() {
    if (!options_.leave_evidence)
      return;
    cluster_.keep_directory();
    std::fprintf(stderr, "logs and history: %s\n", cluster_.directory().c_str());
  }

private:
  static network_config network_config_of(const chaos_options& o) {
    network_config c;
    c.length = std::chrono::seconds{o.seconds};
    c.partitions = o.with.contains(trial::partitions);
    c.links = o.with.contains(trial::links);
    if (!o.disk_losses)
      c.disk_reserve = milliseconds{0};
    // From the wait for all to be whole until the node is filled again; so long where everything else goes on as well.
    constexpr milliseconds copy_takes{55'000};
    if (o.with.contains(trial::copies))
      c.disk_reserve += copy_takes * static_cast<std::int64_t>(copies_in(copy_config_of(o)));
    return c;
  }
  /// Beside other trials, which a copy holds up, there are fewer.
  static copy_config copy_config_of(const chaos_options& o) {
    copy_config c;
    c.length = std::chrono::seconds{o.seconds};
    if (breaks_network(o) || o.with.contains(trial::disks) || o.with.contains(trial::outages)) {
      c.calm_min = milliseconds{10'000};
      c.calm_max = milliseconds{20'000};
      c.room_for_each = milliseconds{80'000};
    }
    return c;
  }
  static test::process_cluster_config cluster_config(const chaos_options& o) {
    test::process_cluster_config c;
    c.nodes = o.nodes;
    c.parleyd = o.parleyd;
    c.directory = o.keep;
    c.environment = o.environment;
    c.port_first = o.port_first;
    c.port_last = o.port_last;
    c.proxied = breaks_network(o);
    c.ailing_disks = o.with.contains(trial::disks);
    // In production the drain's grace period is for people. This test checks only that a drain is orderly.
    c.flags = {"--drain-spread", "500ms", "--drain-deadline", "3s", "--log-level", "info"};
    return c;
  }
  static load_config load_config_of(const chaos_options& o, const test::process_cluster& c) {
    load_config l;
    l.seeds = c.client_seeds();
    l.ca_file = c.client_ca();
    l.users = o.users;
    l.rate = o.rate;
    l.seed = o.seed;
    l.with = o.with;
    return l;
  }

  void torment();
  void inflict(const fault& f);
  void look();
  std::vector<bool> running_nodes() const;
  void note(action f, std::size_t node = 0);
  void progress(milliseconds now, bool last = false);
  bool heal();
  void look_at_the_end();
  std::vector<std::string> busy_nodes() const;
  void check_truth();
  void stop_and_dump();
  verdict judge();
  std::vector<std::string> missing() const;
  void report(const verdict& v) const;

  const chaos_options& options_;
  test::process_cluster cluster_;
  shared_history history_;
  chaos_load load_;
  cluster_view view_;
  steady_clock::time_point began_{}, looked_{}, whole_since_{}, shown_{};
  std::optional<network_trial> network_;
  std::optional<disk_trial> disks_;
  std::optional<copy_trial> copies_;
  bool disk_missing_ = false; ///< a disk was lost, and the cluster has not been whole since
  bool broken_ = false;       ///< a fault is in progress, or the cluster has not been ready again since one
  std::uint64_t kills_ = 0, pauses_ = 0, disk_losses_ = 0;
  std::vector<std::string> complaints_;
};

void chaos_run::note(action f, std::size_t node) {
  event e;
  e.is = phase::ok;
  e.f = f;
  e.node = node_id{node};
  history_.put(e);
}

void chaos_run::inflict(const fault& f) {
  switch (f.what) {
  case fault::kind::kill:
    cluster_.kill(f.node);
    note(action::kill, f.node);
    ++kills_;
    broken_ = true;
    if (copies_)
      copies_->killed(f.node, since(began_));
    break;
  case fault::kind::start:
    cluster_.start(f.node);
    break;
  case fault::kind::pause:
    cluster_.pause(f.node);
    note(action::pause, f.node);
    ++pauses_;
    broken_ = true;
    break;
  case fault::kind::resume:
    cluster_.resume(f.node);
    break;
  case fault::kind::wipe:
    cluster_.wipe(f.node);
    note(action::disk_loss, f.node);
    ++disk_losses_;
    disk_missing_ = true;
    if (copies_)
      copies_->lost(f.node);
    break;
  case fault::kind::client_kill:
    load_.kill_client();
    break;
  }
}

/// Asks every node for its state, at most ten times a second because each query costs the nodes something.
void chaos_run::look() {
  view_.nodes.resize(cluster_.size());
  const bool ask = since(looked_) > milliseconds{100};
  bool all = (!network_ || !network_->active()) && (!disks_ || !disks_->active());
  for (std::size_t n = 1; n <= cluster_.size(); ++n) {
    auto& v = view_.nodes[n - 1];
    v.running = cluster_.running(n);
    v.paused = cluster_.paused(n);
    if (ask || !v.running || v.paused)
      v.ready = v.running && !v.paused && cluster_.ready(n, milliseconds{300}) &&
                cluster_.whole(n, milliseconds{300});
    all = all && v.ready;
  }
  if (ask)
    looked_ = steady_clock::now();
  if (!all)
    whole_since_ = steady_clock::now();
  // /wholez covers every replica that the node holds or has to hear of. Agreement for some time excludes
  // answers from before a fault.
  view_.whole = all && since(whole_since_) > milliseconds{500};
  disk_missing_ = disk_missing_ && !view_.whole;
  if (all && broken_ && ask) {
    broken_ = false;
    note(action::healed);
  }
  for (auto& gone : cluster_.unexpected_exits())
    complaints_.push_back(gone);
}

std::vector<bool> chaos_run::running_nodes() const {
  std::vector<bool> out;
  for (const auto& v : view_.nodes)
    out.push_back(v.running);
  return out;
}

void chaos_run::progress(milliseconds now, bool last) {
  if (options_.json_only || !isatty(2) || (!last && since(shown_) < milliseconds{200}))
    return;
  shown_ = steady_clock::now();
  const auto& c = load_.counters();
  std::string nodes;
  for (const auto& v : view_.nodes)
    nodes += !v.running ? "✗" : v.paused ? "‖" : v.ready ? "●" : "○";
  std::fprintf(stderr,
               "\r\033[K%3" PRId64 " s  %s  acked %" PRIu64 "  open %" PRIu64 "  shown %" PRIu64
               "  online %" PRIu64 "  kills %" PRIu64 "  pauses %" PRIu64 "  disks %" PRIu64 "  %s  %s  %s%s",
               static_cast<std::int64_t>(now.count() / 1000), nodes.c_str(), c.acked.load(),
               c.unsettled.load(), c.applied.load(), c.online.load(), kills_, pauses_, disk_losses_,
               network_ ? network_->current().c_str() : "", disks_ ? disks_->current().c_str() : "",
               copies_ ? copies_->current().c_str() : "", last ? "\n" : "");
}

void chaos_run::torment() {
  fault_config plan;
  plan.length = std::chrono::seconds{options_.seconds};
  plan.kills_wanted = std::max<std::uint64_t>(1, options_.seconds / 5);
  plan.pauses_wanted = std::max<std::uint64_t>(1, options_.seconds / 20);
  plan.disk_losses_wanted =
      !options_.disk_losses || options_.nodes < 3 ? 0 : std::max<std::uint64_t>(1, options_.seconds / 60);
  if (options_.with.contains(trial::restarts))
    plan.kill_all_percent = 40;
  if (options_.with.contains(trial::outages))
    plan.outage = plan.length / 4;
  fault_scheduler faults{plan, options_.seed, options_.nodes};
  began_ = steady_clock::now();
  // A copy that is in use at the end is waited for: it ends by itself (`copy_config`).
  while (since(began_) < plan.length || (copies_ && copies_->struck())) {
    look();
    const auto now = since(began_);
    view_.held = copies_ && copies_->alone();
    for (const auto& f : faults.tick(now, view_))
      inflict(f);
    if (network_ && network_->tick(now, {view_.whole, disk_missing_ || view_.held}))
      broken_ = true;
    // With an ailing disk nothing counts as whole, and a lost disk would count as missing until the end.
    if (disks_ && (disks_->active() || !(disk_missing_ || view_.held)) && disks_->tick(now, running_nodes()))
      broken_ = true;
    if (copies_ && copies_->tick(now, view_.whole && !disk_missing_ && !faults.anything_broken()))
      broken_ = true;
    progress(now);
    test::nap(milliseconds{10});
  }
  // A last fault hits all nodes at once, as soon as the first of the last messages of half of the conversations
  // is acknowledged; these stay silent afterwards. What the fan-outs owe there at that moment has to come from
  // their stored debts, not as a consequence of a later message.
  for (const auto& f : faults.heal())
    inflict(f);
  if (network_ && network_->heal())
    broken_ = true;
  if (disks_ && disks_->heal())
    broken_ = true;
  if (copies_)
    copies_->heal();
  if (!test::poll_until(std::chrono::seconds{20}, [this] {
        look();
        return view_.whole;
      }))
    complaints_.push_back("the cluster was not whole again 20 s after the last fault but one");
  load_.hush();
  test::poll_until(
      std::chrono::seconds{2}, [this] { return load_.counters().last_acked > 0; }, milliseconds{0});
  cluster_.kill_all();
  for (std::size_t n = 1; n <= cluster_.size(); ++n)
    inflict({fault::kind::kill, n}); // for the history
  for (std::size_t n = 1; n <= cluster_.size(); ++n)
    inflict({fault::kind::start, n});
  progress(since(began_), true);
}

bool chaos_run::heal() {
  return test::poll_until(std::chrono::seconds{60}, [this] {
    look();
    return view_.whole;
  });
}

/// What all nodes owe to inboxes by their metrics. A node that does not answer may owe something.
/// What no client sees, because the library heals it or because it costs only money.
void chaos_run::look_at_the_end() {
  std::uint64_t owed = 0;
  if (options_.with.contains(trial::debts) &&
      !test::poll_until(
          std::chrono::seconds{10}, [&] { return (owed = sum_of(cluster_, "parley_debts")) == 0; },
          milliseconds{200}))
    complaints_.push_back(std::to_string(owed) + " debts were not paid 10 s after the last message");
  if (options_.with.contains(trial::truth))
    check_truth();
  if (!options_.with.contains(trial::calm))
    return;
  const auto resets = sum_of(cluster_, "parley_link_resets_total");
  for (const auto& c : busy_nodes())
    complaints_.push_back(c);
  if (const auto more = sum_of(cluster_, "parley_link_resets_total") - resets; more != 0)
    complaints_.push_back("links between nodes were reset " + std::to_string(more) +
                          " times with nothing to do");
}

/// Which nodes take more than their share of a core in each of the windows. The first ones still hold what the clients
/// left behind: sessions end, cursors are written, and what was applied is published.
std::vector<std::string> chaos_run::busy_nodes() const {
  constexpr double share_max = 0.05;
  constexpr milliseconds window{3'000};
  constexpr int windows = 5;
  std::vector<std::string> busy;
  for (int i = 0; i < windows && (i == 0 || !busy.empty()); ++i) {
    busy.clear();
    std::vector<std::chrono::nanoseconds> before;
    for (std::size_t n = 1; n <= cluster_.size(); ++n)
      before.push_back(cluster_.cpu(n));
    test::nap(window);
    for (std::size_t n = 1; n <= cluster_.size(); ++n) {
      const auto share = std::chrono::duration<double>(cluster_.cpu(n) - before[n - 1]) / window;
      if (share > share_max)
        busy.push_back("node " + std::to_string(n) + " still took " + std::to_string(share * 100) +
                       " % of a core after " + std::to_string(windows * window / std::chrono::seconds{1}) +
                       " s with nothing to do");
    }
  }
  return busy;
}

void chaos_run::check_truth() {
  for (std::size_t n = 1; n <= cluster_.size(); ++n)
    if (cluster_.ready(n))
      if (const auto why = serves(cluster_, n))
        complaints_.push_back("node " + std::to_string(n) +
                              " says that it is ready, and does not serve: " + *why);
}

void chaos_run::stop_and_dump() {
  for (std::size_t n = 1; n <= cluster_.size(); ++n) {
    if (!options_.drain_at_end) {
      cluster_.kill(n);
      continue;
    }
    const auto status = cluster_.terminate(n, std::chrono::seconds{15});
    if (!status) {
      complaints_.push_back("node " + std::to_string(n) + " did not stop within 15 s of SIGTERM");
      cluster_.kill(n);
    } else if (*status != 0) {
      complaints_.push_back("node " + std::to_string(n) + " stopped with status " + std::to_string(*status));
    }
  }
}

verdict chaos_run::judge() {
  checker_config config;
  config.replicas = std::min<std::size_t>(3, options_.nodes);
  config.kills_min = config.pauses_min = config.client_kills_min = 1;
  config.disk_losses_min =
      disk_losses_ > 0; // the scheduler requests one only if the cluster was whole in time
  checker judge{config};
  history_reader in{cluster_.directory() + "/history"};
  while (const auto e = in.next())
    judge.take(*e);
  if (!in.ok())
    throw test::cluster_error{"the history could not be read back"};
  for (std::size_t n = 1; n <= cluster_.size(); ++n) {
    const auto file = cluster_.directory() + "/dump-" + std::to_string(n);
    if (!cluster_.dump(n, file))
      throw test::cluster_error{"the replicas of node " + std::to_string(n) + " could not be dumped"};
    std::ifstream lines{file};
    std::optional<replica_head> head;
    std::optional<replica_message> message;
    for (std::string line; std::getline(lines, line);) {
      if (!parse_dump_line(line, head, message))
        throw test::cluster_error{"a line of a dump cannot be parsed: " + line.substr(0, 200)};
      if (head)
        judge.take(n - 1, *head);
      if (message)
        judge.take(n - 1, *message);
    }
  }
  return judge.finish();
}

/// What the trials were to inject and did not: the run is void then.
std::vector<std::string> chaos_run::missing() const {
  auto out = network_ ? network_->missing() : std::vector<std::string>{};
  const auto add = [&](std::vector<std::string> more) { std::ranges::move(more, std::back_inserter(out)); };
  if (disks_)
    add(disks_->missing());
  if (copies_)
    add(copies_->missing());
  return out;
}

void chaos_run::report(const verdict& v) const {
  if (!options_.json_only) {
    std::printf("messages   sent %" PRIu64 "  attempts %" PRIu64 "  acked %" PRIu64
                "  outcome unknown %" PRIu64 "  attempts without answer %" PRIu64 "\n",
                v.messages, v.attempts, v.acked, v.info, v.unanswered);
    std::printf("harm       lost %" PRIu64 "  duplicated %" PRIu64 "  reordered %" PRIu64 "  gaps %" PRIu64
                "\n",
                v.lost, v.duplicated, v.reordered, v.gaps);
    std::printf("faults     kills %" PRIu64 "  pauses %" PRIu64 "  disks lost %" PRIu64
                "  clients killed %" PRIu64 "\n",
                v.kills, v.pauses, v.disk_losses, v.client_kills);
    if (network_)
      std::printf("network    %s\n", network_->summary().c_str());
    if (disks_)
      std::printf("disks      %s\n", disks_->summary().c_str());
    if (copies_)
      std::printf("copies     %s\n", copies_->summary().c_str());
    std::printf("recovery   sends disturbed by a kill: p99 %.0f ms, worst %.0f ms  first ack after healing: "
                "worst %.0f ms"
                "  inboxes caught up in %" PRId64 " ms\n",
                v.failover_p99_ms, v.failover_max_ms, v.first_ack_max_ms,
                static_cast<std::int64_t>(load_.catch_up_took().count()));
    std::printf("judged     %" PRIu64 " events, %" PRIu64 " rows of replicas\n", v.events, v.replica_rows);
    for (std::size_t r = 0; r < v.by_rule.size(); ++r) {
      if (v.by_rule[r] != 0)
        std::printf("rule %-2zu    broken %" PRIu64 " times\n", r, v.by_rule[r]);
    }
    for (const auto& x : v.violations)
      std::printf("  rule %d: %s\n", x.rule, x.what.c_str());
    for (const auto& c : complaints_)
      std::printf("  %s\n", c.c_str());
    for (const auto& m : missing())
      std::printf("  the run is void: %s\n", m.c_str());
  }
  std::printf("{\"acked\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64
              ",\"gaps\":%" PRIu64 ",\"info\":%" PRIu64 ",\"kills\":%" PRIu64 ",\"pauses\":%" PRIu64
              ",\"disk_losses\":%" PRIu64 ",\"client_kills\":%" PRIu64 ",\"unanswered\":%" PRIu64
              ",\"failover_p99_ms\":%.0f,\"first_ack_max_ms\":%.0f,\"catch_up_ms\":%" PRId64
              ",\"seed\":%" PRIu64 "%s%s%s%s%s%s}\n",
              v.acked, v.lost, v.duplicated, v.reordered, v.gaps, v.info, v.kills, v.pauses, v.disk_losses,
              v.client_kills, v.unanswered, v.failover_p99_ms, v.first_ack_max_ms,
              static_cast<std::int64_t>(load_.catch_up_took().count()), options_.seed,
              network_ ? ",\"network\":" : "", network_ ? network_->json().c_str() : "",
              disks_ ? ",\"disks\":" : "", disks_ ? disks_->json().c_str() : "",
              copies_ ? ",\"copies\":" : "", copies_ ? copies_->json().c_str() : "");
  std::fflush(stdout);
}

int chaos_run::go(std::set<int>* broken) {
  cluster_.start_all();
  if (!cluster_.wait_ready(std::chrono::seconds{30}))
    throw test::cluster_error{"the cluster did not become ready within 30 s"};
  std::exception_ptr trouble;
  std::atomic<bool> load_ended{false};
  std::thread clients{[&] {
    try {
      load_.run();
    } catch (...) {
      trouble = std::current_exception();
    }
    load_ended = true;
  }};
  std::exception_ptr own;
  try {
    while (!load_.ready() && !load_ended)
      test::nap(milliseconds{20});
    if (!load_ended) {
      torment();
      if (!heal())
        complaints_.push_back("the cluster was not whole again 60 s after the last fault was undone");
    }
  } catch (...) {
    own = std::current_exception();
  }
  load_.finish();
  clients.join();
  for (const auto& e : {own, trouble}) {
    if (e)
      std::rethrow_exception(e);
  }
  for (const auto& c : load_.complaints())
    complaints_.push_back(c);
  if (copies_) {
    for (const auto& c : copies_->complaints()) {
      complaints_.push_back(c);
      if (broken)
        broken->insert(rule_of_copies);
    }
  }
  look_at_the_end();
  stop_and_dump();
  const auto v = judge();
  for (std::size_t rule = 0; broken && rule < v.by_rule.size(); ++rule)
    if (v.by_rule[rule] != 0)
      broken->insert(static_cast<int>(rule));
  report(v);
  const bool clean = v.clean() && complaints_.empty();
  if (!clean) {
    keep();
  }
  return !clean ? 1 : missing().empty() ? 0 : 3;
}

} // namespace

int run_chaos(const chaos_options& options, std::set<int>* broken) {
  if ((breaks_network(options) || options.with.contains(trial::copies)) && options.nodes < 3) {
    std::fprintf(stderr, "chaos: the trials partitions, links and copies need at least 3 nodes\n");
    return 2;
  }
  try {
    chaos_run run{options};
    try {
      return run.go(broken);
    } catch (const std::exception&) {
      run.keep();
      throw;
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "chaos: %s\n", e.what());
    return 2;
  }
}

} // namespace parley::chaos
