#include "cluster/node/store.hpp"

#include "cluster/node/free_pages.hpp"
#include "cluster/ops/logging.hpp"
#include "cluster/replication/attentive_clock.hpp"
#include "protocol/values/last_words.hpp"

#include <algorithm>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

namespace parley::cluster {
namespace {

mono_ms steady_now() {
  return mono_ms{std::chrono::duration_cast<std::chrono::milliseconds>(
                     std::chrono::steady_clock::now().time_since_epoch())
                     .count()};
}

[[noreturn]] void stop_process(const std::string& what, ec why) {
  end_process("parleyd: " + what + " (" + std::string{describe(why).name} +
              "). The process stops here; what was acknowledged is on the other replicas. " +
              (why == ec::corrupt ? "The data directory is damaged. Check the disk. "
                                  : "Check the disk, then start the node again. If this repeats: ") +
              std::string{replace_directory_advice} + ".");
}

/// The turn's transaction, with what other shards have written in it, is abandoned: another one says why, so that the
/// next process does not meet the row again.
[[noreturn]] void stop_unreadable(storage::environment& env, shard_id shard) {
  const auto txn = env.begin_write();
  replication::remember_unreadable(*txn, shard);
  if (const auto error = txn->commit(storage::durable::now); error != ec::none)
    stop_process("a commit failed", error);
  end_process(
      "parleyd: shard " + std::to_string(number(shard)) +
      ": a row of its state does not match its checksum, and a command has to read it. The process stops "
      "here; what was acknowledged is on the other replicas. Start the node again: the replica then gets "
      "the rows of its leader. If this repeats, check the disk.");
}

/// The asker that waits for a ticket of the engine.
struct waiting {
  result_sink reply_to;
  std::uint64_t ticket = 0;
  std::size_t bytes = 0; ///< of its command
};

struct store_state {
  static inline const char* name = "store";
  store_config config;
  storage::environment* env = nullptr;
  store_wiring wiring;
  std::unique_ptr<shard_machine> machine;
  std::unique_ptr<replication> engine;
  attentive_clock clock{std::chrono::milliseconds{1}};
  std::uint64_t last_ticket = 0;

  mono_ms now() { return clock.at(steady_now()); }
  std::unordered_map<std::uint64_t, waiting> proposals; ///< by the engine's ticket; reads too
  std::vector<proposal> merging;                        ///< proposals that can wait
  std::size_t bytes = 0;                                ///< of the commands of both
  std::vector<std::uint64_t> reads; ///< the engine's tickets of those that wait for a publish
  std::chrono::steady_clock::time_point reads_published_at{};
  std::chrono::steady_clock::time_point cache_back_at{};
  bool reads_armed = false;
  std::vector<node_row> node_rows; ///< for the next commit
  bool turn_queued = false;
  bool open = false;
};

using self_ptr = wired_store_actor::stateful_pointer<store_state>;

/// Collects the messages of a turn, so that each receiver gets one.
class results {
public:
  void add(const result_sink& to, result r) {
    if (!to)
      return;
    const auto id = to.id();
    auto [i, is_new] = index_.try_emplace(id, groups_.size());
    if (is_new)
      groups_.emplace_back(to, result_batch{});
    groups_[i->second].second.results.push_back(std::move(r));
  }
  ~results() {
    for (auto& [to, batch] : groups_)
      caf::anon_send(to, std::move(batch));
  }

private:
  std::unordered_map<caf::actor_id, std::size_t> index_;
  std::vector<std::pair<result_sink, result_batch>> groups_;
};

using publishing = storage::environment::publishing;

void queue_turn(self_ptr self) {
  auto& st = self->state;
  if (st.turn_queued || !st.open)
    return;
  st.turn_queued = true;
  self->send(self, atom::turn_v); // behind everything that is in the mailbox by now: that is the batch
}

/// The frames of a turn, after what ends them: a node whose disk forgot sends nothing any more.
void hand_out_frames(store_state& st, turn& t) {
  for (const auto& f : t.news.forgets)
    st.wiring.peers->disk_forgot(f);
  for (auto& f : t.frames)
    st.wiring.peers->send_raft(f.to, std::move(f.bytes));
}

/// A replica that stopped is the operator's: the node and its other shards go on.
void report_halts(store_state& st, const events& news) {
  for (const auto& h : news.halts)
    log::error("replica-halted",
               {{"shard", number(h.at.shard)},
                {"generation", number(h.at.gen)},
                {"index", h.at.index},
                {"why", h.why},
                {"file", st.config.replication.data_file},
                {"next", "start this node with the newest parleyd of the cluster; if it halts "
                         "again, replace its data directory"}});
  for (const auto& d : news.divergences)
    st.wiring.peers->diverged(d);
  if (st.wiring.observer && news.refused_messages != 0)
    st.wiring.observer->refused_messages(news.refused_messages);
  if (st.wiring.observer && news.followers_forgot != 0)
    st.wiring.observer->followers_forgot(news.followers_forgot);
  for (const auto shard : news.damaged) {
    log::error(
        "replica-damaged",
        {{"shard", number(shard)},
         {"means", "a row of this replica does not match its checksum; another replica leads the shard now"},
         {"next", "replica-mended follows, as soon as the other replicas are a majority without this one; if "
                  "it does not, start the nodes that are away"}});
    if (st.wiring.observer)
      st.wiring.observer->damaged(shard, true);
  }
  for (const auto shard : news.mended) {
    log::info("replica-mended",
              {{"shard", number(shard)},
               {"means", "the rows of this replica are those of its leader now, checked against their "
                         "checksums, or they are gone, because its shard is elsewhere now; if the same node "
                         "tells of damage again, check its disk"}});
    if (st.wiring.observer)
      st.wiring.observer->damaged(shard, false);
  }
  if (news.disk_slow && *news.disk_slow)
    log::warn("disk-slow",
              {{"means",
                "each sync of this node's disk takes long: what it leads, it hands to nodes whose disks are "
                "several times quicker, if there are any"},
               {"next", "look for what else uses the disk of the data directory, and at its health"}});
  else if (news.disk_slow)
    log::info("disk-quick", {{"means", "the syncs of this node's disk do not take long any more"}});
  if (!news.has_room)
    return;
  if (st.wiring.observer)
    st.wiring.observer->has_room(*news.has_room);
  if (*news.has_room)
    log::info("disk-has-room", {{"means", "this node stores messages again"}});
  else
    log::warn("disk-full",
              {{"bytes_free", st.env->room().bytes_free},
               {"means", "the reserve (limits.disk_reserve) is reached: this node takes no new messages, "
                         "and other nodes lead its shards"},
               {"next", "free space on the disk of the data directory, or enlarge it"}});
}

std::uint64_t remember(store_state& st, const result_sink& reply_to, std::uint64_t ticket,
                       std::size_t bytes = 0) {
  const auto n = ++st.last_ticket;
  if (reply_to) {
    st.proposals.emplace(n, waiting{reply_to, ticket, bytes});
    st.bytes += bytes;
  }
  return n;
}

std::optional<waiting> take(store_state& st, std::uint64_t engines_ticket) {
  auto w = st.proposals.extract(engines_ticket);
  if (w.empty())
    return std::nullopt;
  st.bytes -= w.mapped().bytes;
  return std::move(w.mapped());
}

void hand_out(store_state& st, events& news) {
  report_halts(st, news);
  results out;
  for (const auto& r : news.refusals)
    if (const auto w = take(st, r.ticket))
      out.add(w->reply_to, {w->ticket, r.why, false, {}});
  for (const auto& r : news.reads)
    st.reads.push_back(r.ticket);
  if (news.leaderships.empty())
    return;
  for (const auto& l : news.leaderships) { // the shard first: the router's next call may be for it
    st.machine->set_leading(l.shard, l.ready);
    if (auto s = st.wiring.shards.find(number(l.shard)); s != st.wiring.shards.end())
      caf::anon_send(s->second, l);
  }
  caf::anon_send(st.wiring.router, leadership_news{std::move(news.leaderships)});
}

/// Sends the results of applied commands: answers to the proposers, debts and arrivals to shards led here.
std::size_t hand_out_results(store_state& st) {
  auto left = st.machine->take_results();
  results out;
  for (auto& a : left.answers)
    if (const auto w = take(st, a.ticket))
      out.add(w->reply_to, {w->ticket, ec::none, false, std::move(a.what)});
  std::unordered_map<std::uint16_t, shard_effects> effects;
  for (auto& d : left.debts)
    effects[number(d.shard)].debts.push_back(std::move(d));
  for (auto& a : left.arrivals)
    effects[number(a.shard)].arrivals.push_back(std::move(a));
  for (auto& [shard, e] : effects)
    if (auto s = st.wiring.shards.find(shard); s != st.wiring.shards.end())
      caf::anon_send(s->second, std::move(e));
  return left.answers.size();
}

void publish(store_state& st, publishing when) {
  if (const auto error = st.env->publish(when); error != ec::none)
    stop_process("what is committed could not be published", error);
}

void publish_for_reads(store_state& st) {
  publish(st, publishing::now);
  st.reads_published_at = std::chrono::steady_clock::now();
}

/// Answers the reads whose rounds are over: from now on what was applied before the rounds can be read. Under
/// load each turn has both commands and reads, and a publish for each would undo what the journal saves.
void answer_reads(self_ptr self) {
  auto& st = self->state;
  if (st.reads.empty())
    return;
  if (!st.env->all_visible()) {
    const auto now = std::chrono::steady_clock::now();
    const auto due = st.reads_published_at + st.config.publish_reads_every;
    if (now < due) {
      if (!std::exchange(st.reads_armed, true))
        self->delayed_send(self, due - now, atom::publish_v);
      return;
    }
    publish_for_reads(st);
  }
  results out;
  for (const auto ticket : std::exchange(st.reads, {}))
    if (const auto w = take(st, ticket))
      out.add(w->reply_to, {w->ticket, ec::none, true, {}});
}

void run_turn(self_ptr self) {
  auto& st = self->state;
  st.turn_queued = false;
  auto early = st.engine->begin_turn(st.now());
  hand_out_frames(st, early);
  if (!early.frames.empty()) // the followers' syncs are the longer way: where both threads share a processor,
    std::this_thread::yield(); // the network's goes first
  if (st.engine->wants_write() || !st.node_rows.empty()) {
    auto txn = st.env->begin_write();
    const auto rows = std::exchange(st.node_rows, {});
    for (const auto& r : rows)
      txn->put(storage::table::node, r.key, r.value);
    const auto promised = st.engine->write(*txn, st.env->room());
    if (const auto shard = st.engine->unreadable()) {
      txn.reset();
      stop_unreadable(*st.env, *shard);
    }
    const auto when = rows.empty() ? promised : storage::durable::now;
    const auto commands = hand_out_results(st); // their log entries are on a majority's disks already
    const auto begun = std::chrono::steady_clock::now();
    if (const auto error = txn->commit(when); error != ec::none)
      stop_process("a commit failed", error);
    const auto took = std::chrono::steady_clock::now() - begun;
    if (st.wiring.observer)
      st.wiring.observer->committed(commands, took);
    if (when == storage::durable::now)
      st.engine->synced(std::chrono::duration_cast<milliseconds>(took), st.now());
    for (const auto& r : rows)
      r.durable();
  }
  auto late = st.engine->end_turn(st.now());
  hand_out_frames(st, late);
  // A shard that begins to lead reads what was applied before; frames do not wait for it.
  publish(st, late.news.leaderships.empty() ? publishing::if_due : publishing::now);
  hand_out(st, late.news);
  answer_reads(self);
  if (st.engine->wants_write())
    queue_turn(self);
}

void arm_tick(self_ptr self) {
  const auto in = static_cast<std::int64_t>(self->state.engine->next_tick()) -
                  static_cast<std::int64_t>(self->state.now());
  self->delayed_send(self, std::chrono::milliseconds{std::clamp<std::int64_t>(in, 5, 1000)}, atom::tick_v);
}

bool has_room(const store_state& st, const proposal& p) {
  const auto most = [&](std::size_t all) { return p.from_clients ? for_messages(all) : all; };
  return st.proposals.size() + st.merging.size() < most(st.config.proposals_max) &&
         st.bytes + p.command.size() <= most(st.config.proposals_bytes_max);
}

void propose(store_state& st, proposal& p) {
  const auto ticket =
      remember(st, p.reply_to, p.ticket, p.command.size()); // before the command is moved from
  st.engine->propose(p.shard, ticket, std::move(p.command), p.frees_room);
}

/// A round costs every replica a sync and a dozen threads a wake-up, whether it has one command or a hundred.
void keep(self_ptr self, proposal& p) {
  auto& st = self->state;
  if (st.merging.empty())
    self->delayed_send(self, st.config.merge_within, atom::sweep_v);
  st.bytes += p.command.size();
  st.merging.push_back(std::move(p));
}

void propose_kept(self_ptr self) {
  auto& st = self->state;
  for (auto& p : std::exchange(st.merging, {})) {
    st.bytes -= p.command.size();
    propose(st, p);
  }
  queue_turn(self);
}

wired_store_actor::behavior_type store(self_ptr self, store_config config, storage::environment* env) {
  auto& st = self->state;
  st.config = config;
  st.clock = attentive_clock{config.replication.heartbeat_every * 3 / 2};
  st.env = env;
  st.machine = std::make_unique<shard_machine>();
  st.engine = std::make_unique<replication>(config.replication, *st.machine);
  return {
      [self](store_wiring& wiring) {
        auto& st = self->state;
        st.wiring = std::move(wiring);
        if (const auto fault = st.engine->open(*st.env, *st.wiring.peers, st.now()))
          stop_process(fault->what, fault->code);
        st.open = true;
        self->send(self, atom::tick_v);
      },
      [self](const damaged_row& d) {
        if (!self->state.open)
          return;
        self->state.engine->damaged(d.shard);
        queue_turn(self);
      },
      [self](proposal_batch& batch) {
        auto& st = self->state;
        results refused;
        for (auto& p : batch.proposals) {
          if (!st.open || !has_room(st, p)) {
            refused.add(p.reply_to, {p.ticket, ec::overloaded, false, {}});
          } else if (p.can_wait) {
            keep(self, p);
          } else {
            propose(st, p);
            queue_turn(self);
          }
        }
      },
      [self](const fresh_read& r) {
        auto& st = self->state;
        if (!st.open || st.proposals.size() >= st.config.proposals_max) {
          results{}.add(r.reply_to, {r.ticket, ec::overloaded, false, {}});
          return;
        }
        st.engine->read(r.shard, remember(st, r.reply_to, r.ticket));
        queue_turn(self);
      },
      [self](const raft_payloads& p) {
        auto& st = self->state;
        if (st.wiring.peers)
          st.wiring.peers->taken(p.frames);
        if (!st.open)
          return;
        for (const auto& bytes : p.frames)
          st.engine->receive(p.from, bytes, st.now());
        queue_turn(self);
      },
      [self](const peer_lost& p) {
        if (!self->state.open)
          return;
        self->state.engine->peer_reset(p.peer);
        queue_turn(self);
      },
      [self](const peer_begun& p) {
        if (!self->state.open)
          return;
        self->state.engine->peer_begun(p.peer);
        queue_turn(self);
      },
      [self](const whole_request& r) {
        if (self->state.open)
          r.done(self->state.engine->whole_without(r.without));
      },
      [self](node_row& r) {
        if (!self->state.open)
          return;
        self->state.node_rows.push_back(std::move(r));
        queue_turn(self);
      },
      [self](const seal_request& r) {
        auto& st = self->state;
        if (!st.open)
          return;
        st.engine->seal(r.shard, r.next, remember(st, result_sink{}, 0));
        queue_turn(self);
      },
      [self](const transfer_request& r) {
        if (!self->state.open)
          return;
        if (self->state.engine->offer_leadership(r.shard, r.to))
          log::info("leadership-offered",
                    {{"shard", r.shard},
                     {"to", r.to},
                     {"means", "this node leads more shards than that one, and nothing else happens; unless "
                               "that one is stopped, it leads the shard within an election time-out"}});
        queue_turn(self);
      },
      [self](atom::drain) {
        if (!self->state.open)
          return;
        propose_kept(self);
        self->state.engine->hand_over_all();
        queue_turn(self);
      },
      [self](atom::report, const report_sink& to) {
        auto& st = self->state;
        if (st.wiring.observer)
          st.wiring.observer->members(st.engine->silent_members(), st.engine->lagging_members());
        caf::anon_send(to, replica_report{st.engine->status()});
      },
      [self](atom::tick) {
        auto& st = self->state;
        st.engine->tick(st.now());
        queue_turn(self);
        arm_tick(self);
        if (const auto now = std::chrono::steady_clock::now(); now >= st.cache_back_at) {
          give_thread_cache_back();
          st.cache_back_at = now + free_memory_every;
        }
      },
      [self](atom::turn) { run_turn(self); },
      [self](atom::sweep) { propose_kept(self); },
      [self](atom::stop) {
        if (self->state.open)
          publish(self->state, publishing::now);
        self->quit();
      },
      [self](atom::publish) {
        auto& st = self->state;
        if (!st.open)
          return;
        st.reads_armed = false;
        publish_for_reads(st);
        answer_reads(self);
      },
  };
}

} // namespace

config_check validate(const store_config& config) {
  if (config.proposals_max < 1)
    return config_fault{"proposals_max"};
  if (config.proposals_bytes_max < entry_bytes_max)
    return config_fault{"proposals_bytes_max"};
  if (config.merge_within.count() < 1)
    return config_fault{"merge_within"};
  if (config.publish_reads_every.count() < 0)
    return config_fault{"publish_reads_every"};
  return validate(config.replication);
}

wired_store_actor spawn_store(caf::actor_system& sys, store_config config, storage::environment& env) {
  return sys.spawn<caf::detached>(store, config, &env);
}

} // namespace parley::cluster
