// parleyd: one node. It reads settings, locks the data directory, takes part in formation, runs the node, and
// drains it at the end.
#include "cluster/links/network_scheduler.hpp"
#include "cluster/machine/dump.hpp"
#include "cluster/membership/formation_service.hpp"
#include "cluster/membership/peer_seeker.hpp"
#include "cluster/membership/set_aside.hpp"
#include "cluster/node/free_pages.hpp"
#include "cluster/node/node_pages.hpp"
#include "cluster/node/node_settings.hpp"
#include "cluster/node/preflight.hpp"
#include "cluster/node/reloader.hpp"
#include "cluster/node/rescue_shard.hpp"
#include "cluster/node/signals.hpp"
#include "cluster/ops/admin_server.hpp"
#include "cluster/ops/logging.hpp"
#include "cluster/ops/startup.hpp"
#include "protocol/values/last_words.hpp"
#include "protocol/values/standard_descriptors.hpp"
#include "protocol/values/version.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <future>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

/// For jemalloc, which reads it before `main`; MALLOC_CONF in the environment comes after it. Without threads of its own,
/// memory that a burst needed is given back only as fast as its arena is used again (docs/decisions/0050).
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true";
}

namespace {

using namespace parley;
using namespace parley::cluster;

constexpr auto version = program_version;

/// Links exist before the node does, because formation uses them, and after it. Payloads that arrive while
/// there is no node are dropped.
class events_relay final : public link_events {
public:
  void to(link_events* events) { to_.store(events); }
  void received(node_id from, lane on, std::vector<std::string> payloads) override {
    if (auto* e = to_.load())
      e->received(from, on, std::move(payloads));
  }
  void reset(node_id peer) override {
    if (auto* e = to_.load())
      e->reset(peer);
  }
  void begun(node_id peer) override {
    if (auto* e = to_.load())
      e->begun(peer);
  }
  void disowned(node_id by, start_verdict why) override {
    if (auto* e = to_.load())
      e->disowned(by, why);
  }

private:
  std::atomic<link_events*> to_{nullptr};
};

/// Beside its drain, a node that ends waits for the store (10 s), for reports of it and for the log.
constexpr std::chrono::seconds end_within{20};

/// How many files this process may open.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return RLIM_INFINITY;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

/// A message is passed from thread to thread. By default Linux may run a woken thread at once, preempting the
/// thread that woke it, which may not have handed over the rest of its work yet or may hold a lock that the
/// other needs. SCHED_BATCH prevents this: a fifth less delay was measured at low load. Threads inherit it.
/// Where it is forbidden, the node runs as without it.
void let_wakers_finish() {
  const sched_param none{};
  sched_setscheduler(0, SCHED_BATCH, &none);
}

/// The width of the terminal that help is printed on, or that of the narrowest usual one.
std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int fail(std::string_view what) {
  log::stop();
  last_words("parleyd: " + std::string{what});
  return 1;
}

/// The process ends without destructors: actors use objects that destructors would destroy, and a thread may be
/// stuck in the writing of a log that nobody reads.
[[noreturn]] void leave(int status) {
  std::fflush(stdout);
  std::_Exit(status);
}

/// What a directory says of its node. The start is durable before anything of it leaves this node.
struct claimed {
  storage::identity identity;
  node_start start;
  std::shared_ptr<start_book> book;
};

tl::expected<claimed, std::string> claim(storage::environment& env, node_id node) {
  claimed out;
  auto txn = env.begin_write();
  auto identity = storage::claim_identity(*txn, node);
  if (!identity)
    return tl::unexpected{identity.error().what};
  auto start = storage::begin_start(*txn);
  if (!start)
    return tl::unexpected{start.error().what};
  out.identity = *identity;
  out.start = {number(identity->disk), start->number, std::move(start->words)};
  auto seen = storage::read_seen(*txn);
  if (!seen)
    return tl::unexpected{seen.error().what};
  out.book = std::make_shared<start_book>(std::move(*seen));
  if (!out.book->unread().empty())
    return tl::unexpected{std::string{
        "what this node saw of the starts of other nodes cannot be read from its data directory: start the "
        "version of parleyd that wrote it, or move the directory away and start this node with an empty "
        "one, which the other nodes fill"}};
  if (txn->commit() != ec::none || env.publish(storage::environment::publishing::now) != ec::none)
    return tl::unexpected{
        std::string{"the data directory cannot be written, so the node has not started: check the disk"}};
  return out;
}

void found_shards(storage::write_txn& txn, const founding& f, const member& self) {
  for (std::uint16_t s = 0; s < f.shards; ++s) {
    const auto members = first_members(f, shard_id{s});
    if (std::find(members.begin(), members.end(), self) != members.end())
      replication::found(txn, shard_id{s}, members, self);
  }
}

struct caf_settings : caf::actor_system_config {
  caf_settings(const node_config& c, const links_config& l) {
    configure_links(*this, l);
    if (c.caf_workers == 0) {
      load<network_scheduler>();
      set("middleman.workers", std::size_t{0}); // they would run on the same thread
      return;
    }
    set("scheduler.max-threads", c.caf_workers);
    set("scheduler.policy", c.caf_policy == "sharing" ? caf::atom("sharing") : caf::atom("stealing"));
    if (!c.caf_polling) { // idle workers sleep at once: less delay at low load
      set("work-stealing.aggressive-poll-attempts", 10);
      set("work-stealing.moderate-poll-attempts", 0);
    }
  }
};

/// The UTC time as part of a file name.
std::string time_in_name() {
  const auto now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return text;
}

/// Where a fenced node asks: the seeds, and where it knew the others last.
std::vector<endpoint> whom_to_ask(const node_config& config) {
  auto out = config.seeds;
  for (const auto& n : read_peers(config.data_dir + "/peers"))
    if (const auto at = parse_endpoint(n.peer_address);
        at && std::find(out.begin(), out.end(), *at) == out.end())
      out.push_back(*at);
  std::erase(out, config.peer_advertise);
  return out;
}

/// Begins with an empty directory, once the others need nothing of this one. Returns if that never comes.
void begin_anew(const node_config& config, char** argv, caf::actor_system& system, signals& signals) {
  // It asks and has no sessions; its door is where nobody looks for it.
  auto settings = make_links_config(config);
  settings.listen = {"127.0.0.1", 0};
  events_relay nobody;
  links asking{system, settings, nobody};
  set_aside_config how;
  how.self.id = config.node;
  how.ask = whom_to_ask(config);
  if (const auto why = asking.start())
    return log::error("fence-asks-nobody", {{"why", *why}});
  if (!wait_until_whole(how, asking, signals.asked))
    return;
  asking.stop();
  const auto aside = storage::set_aside(config.data_dir, time_in_name());
  if (!aside)
    return log::error("not-set-aside", {{"why", aside.error().what}});
  log::warn("set-aside",
            {{"directory", *aside},
             {"means", "nothing is erased; this node begins with an empty directory, which the others fill"},
             {"next", "remove it when you are sure that nothing is missing"}});
  log::stop();
  ::execv("/proc/self/exe", argv);
  leave(fail("this program cannot start itself again: start the node"));
}

/// A node that must not run on its directory says so, until it is stopped: a supervisor would start one that ends again
/// and again.
[[noreturn]] void stay_fenced(const node_config& config, char** argv, caf::actor_system& system,
                              signals& signals, node_pages& pages, const storage::fence& fence) {
  const bool anew = fence.next == storage::fence::then::begin_anew;
  std::string next =
      "leave one process of this node, move its data directory away and start it with an empty "
      "one, which the other nodes fill";
  if (anew) {
    next = whom_to_ask(config).empty() ? "list other nodes among the seeds of this node (--seeds), because "
                                         "it knows none, and start it again"
                                       : "start the other nodes";
    next += "; once a majority without this node has everything, its data directory is set aside and it "
            "begins with "
            "an empty one";
  }
  pages.fenced(fence.why, next);
  log::error("fenced",
             {{"why", fence.why},
              {"means", "this node neither votes nor serves; the other nodes go on if they are a majority"},
              {"next", next}});
  if (anew)
    begin_anew(config, argv, system, signals);
  signals.wait_for_signal();
  log::info("stopped");
  log::stop();
  leave(0);
}

int run(node_config config, char** argv, std::function<startup()> read_again) {
  if (config.threads_batch)
    let_wakers_finish();
  // Before any thread begins: SIGTERM would end a process with a thread that does not block it.
  signals signals{std::chrono::duration_cast<std::chrono::seconds>(config.drain_deadline) + end_within};
  log::start({log::level_named(config.log_level),
              config.log_format == "json" ? log::format::json : log::format::text});
  reloader renewals{config, std::move(read_again)};
  std::atomic<node*> started{nullptr};
  signals.watch([&] { renewals.reload(); },
                [&] {
                  renewals.remind();
                  if (auto* it = started.load())
                    it->remind();
                });
  const auto descriptors = raise_descriptor_limit();
  free_pages_returner returns_free_pages;

  if (const auto why = objection(config))
    return fail(*why);
  for (const auto& doubt : doubts(config))
    log::warn("start-doubt", {{"why", doubt}});
  if (const auto few = fit_connections(config, descriptors))
    log::warn("start-doubt", {{"why", *few}});
  auto directory = storage::data_directory::lock(config.data_dir);
  if (!directory)
    return fail(directory.error().what + " (--data-dir)");
  node_pages pages{config.node};
  admin_config admin_settings;
  admin_settings.listen = config.admin_listen;
  admin_settings.certificate_file = config.admin_cert();
  admin_settings.key_file = config.admin_key();
  admin_settings.ca_file = config.admin_ca();
  const auto admin = start_admin_server(admin_settings, pages);
  if (!admin)
    return fail(admin.error());
  if (!is_loopback(config.admin_listen.host))
    renewals.add("the admin port", {{"admin", config.admin_cert()}, {"admin-ca", config.admin_ca()}},
                 [&] { return (*admin)->renew_certificate(); });
  pages.certificates([&] { return renewals.certificates(); });

  auto links_settings = make_links_config(config);
  caf_settings caf_config{config, links_settings};
  caf::actor_system system{caf_config};
  const auto fence = storage::read_fence(config.data_dir);
  if (!fence)
    leave(fail(fence.error().what));
  if (!fence->why.empty())
    stay_fenced(config, argv, system, signals, pages, *fence);
  auto env = storage::journaled_environment::open(config.data_dir, storage_settings(config), {});
  if (!env)
    leave(fail(env.error().what));
  const auto mine = claim(**env, config.node);
  if (!mine)
    leave(fail(mine.error() + " (--node, --data-dir)"));
  const auto* identity = &mine->identity;

  links_settings.start = mine->start;
  links_settings.book = mine->book;
  events_relay relay;
  links transport{system, links_settings, relay};
  formation_service forming{make_formation_config(config, identity->disk), **env};
  pages.starts([&] { return forming.waits_for(); });
  transport.on_query([&](node_id from, std::string_view question) { return forming.answer(from, question); });
  if (const auto why = transport.start())
    leave(fail(*why + " (--node, --certs-dir, --peer-listen)"));
  renewals.add("the links to other nodes", {{"node", config.peer_cert()}, {"node-ca", config.peer_ca()}},
               [&] { return transport.renew(); });

  const member self{config.node, identity->disk};
  const auto cluster = forming.run(transport, signals.stop, [&](storage::write_txn& txn, const founding& f) {
    found_shards(txn, f, self);
  });
  if (!cluster) {
    if (forming.runs_beside_another()) {
      const storage::fence why{cluster.error(), storage::fence::then::stay};
      if (const auto kept = storage::write_fence(config.data_dir, why); !kept)
        log::error("fence-not-kept", {{"why", kept.error().what}});
      transport.stop();
      stay_fenced(config, argv, system, signals, pages, why);
    }
    if (!signals.stop)
      leave(fail(cluster.error()));
    log::stop();
    leave(0);
  }

  node it{system, config, *identity, *cluster, **env};
  mine->book->kept_by([&](start_book::row row, std::function<void()> durable) {
    it.keep(storage::seen_key(row.first), std::move(row.second), std::move(durable));
  });
  std::promise<storage::fence> fenced;
  auto is_fenced = fenced.get_future();
  it.when_fenced([&](storage::fence why) {
    fenced.set_value(std::move(why));
    signals.end();
  });
  relay.to(&it.events());
  if (const auto why = it.start(transport))
    leave(fail(*why));
  renewals.add("clients", {{"client", config.client_cert()}}, [&] { return it.renew_certificate(); });
  forming.serve([&] { return it.nodes(); }, [&](const core::node_record& n) { it.admit(n); },
                [&](node_id n) { return it.whole_without(n); });
  peer_seeker_config seeking;
  seeking.self = {config.node, identity->disk, to_string(config.peer_advertise),
                  to_string(config.client_advertise)};
  seeking.cluster = cluster->cluster.cluster;
  seeking.seeds = config.seeds;
  auto seeker = std::make_unique<peer_seeker>(
      seeking, transport, [&] { return it.nodes(); },
      [&](const peer_seeker::node_list& n) { forming.remember(n); });
  pages.is(it);
  started.store(&it);
  log::info("serving", {{"node", config.node},
                        {"clients", to_string(config.client_listen)},
                        {"admin", to_string({config.admin_listen.host, (*admin)->port()})}});

  signals.wait();
  seeker.reset();
  if (is_fenced.wait_for(std::chrono::seconds{0}) == std::future_status::ready) {
    const auto why = is_fenced.get();
    if (const auto kept = storage::write_fence(config.data_dir, why); !kept)
      log::error("fence-not-kept", {{"why", kept.error().what}});
    forming.remember(it.nodes());
    it.fall_silent();
    transport.stop();
    it.close_store();
    stay_fenced(config, argv, system, signals, pages, why);
  }
  pages.drains();
  const auto left = it.drain();
  log::info("drained", {{"clients", left.clients}, {"leaderships", left.leaderships}});
  if (left.clients + left.leaderships > 0)
    log::warn("drain-incomplete",
              {{"means", "nothing that was acknowledged is lost: clients reconnect to other "
                         "nodes, and shards elect new leaders"},
               {"advice", "raise drain.deadline if this interrupts clients for too long"}});
  forming.remember(it.nodes());
  if (!it.close_store())
    log::warn("store-not-closed",
              {{"means", "nothing is lost: the next start applies the journal to the tables"},
               {"advice", "start this version once more before you start another one, and check the disk"}});
  log::info("stopped");
  log::stop();
  // Everything that was acknowledged is on disk, and the rest is on other nodes or is sent again. So there is
  // nothing to wait for.
  leave(0);
}

} // namespace

int main(int argc, char** argv) {
  if (!occupy_standard_descriptors())
    return 1;
  const auto read = [argc, argv] {
    return read_startup(argc, argv, current_environment(), version, terminal_columns());
  };
  const auto asked = read();
  switch (asked.what) {
  case startup::action::print:
    if (auto* to = asked.exit_code == 0 ? stdout : stderr;
        std::fputs(asked.text.c_str(), to) < 0 || std::fflush(to) != 0)
      return fail("the output cannot be written: what is there is not all of it");
    return asked.exit_code;
  case startup::action::dump: {
    const auto dumped = dump_node(asked.dump_dir, stdout);
    return dumped ? 0 : fail(dumped.error().what);
  }
  case startup::action::rescue: {
    const auto why = rescue_shard(asked.config.data_dir, shard_id{asked.rescue_shard}, stdin, stdout);
    return why ? fail(*why) : 0;
  }
  case startup::action::run:
    break;
  }
  for (const auto& warning : asked.warnings)
    last_words("parleyd: " + warning);
  leave(run(asked.config, argv, read));
}
