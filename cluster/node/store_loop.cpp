#include "cluster/node/store_loop.hpp"

#include "cluster/machine/shard_rows.hpp"
#include "cluster/ops/logging.hpp"
#include "protocol/values/last_words.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/send.hpp>

namespace parley::cluster {
namespace {

using publishing = storage::environment::publishing;

std::string advice_for(ec why) {
  if (why == ec::disk_full)
    return std::string{full_disk_advice};
  return (why == ec::corrupt ? "The data directory is damaged. Check the disk. "
                             : "Check the disk, then start the node again. If this repeats: ") +
         std::string{replace_directory_advice};
}

[[noreturn]] void stop_process(const std::string& what, ec why) {
  end_process("parleyd: " + what + " (" + std::string{describe(why).name} +
              "). The process stops here; what was acknowledged is on the disks of a majority. " +
              advice_for(why) + ".");
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

} // namespace

/// Collects the messages of a turn, so that each receiver gets one.
class store_loop::results {
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

store_loop::store_loop(const store_config& config, storage::environment& env, store_driver& driver,
                       const watch_type& watch)
    : config_{config}, env_{env}, driver_{driver}, watch_{watch ? watch(machine_) : nullptr},
      engine_{config.replication, watch_ ? *watch_ : machine_}, clock_{config.replication.heartbeat_every *
                                                                       3 / 2} {}

store_loop::~store_loop() = default;

mono_ms store_loop::clock(time_point now) {
  return clock_.at(
      mono_ms{std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()});
}

void store_loop::queue_turn() {
  if (turn_queued_ || !open_)
    return;
  turn_queued_ = true;
  driver_.turn_soon();
}

/// The frames of a turn, after what ends them: a node whose disk forgot sends nothing any more.
void store_loop::hand_out_frames(turn& t) {
  for (const auto& f : t.news.forgets)
    wiring_.peers->disk_forgot(f);
  for (auto& f : t.frames)
    wiring_.peers->send_raft(f.to, std::move(f.bytes));
}

/// A replica that stopped is the operator's: the node and its other shards go on.
void store_loop::report_halts(const events& news) {
  for (const auto& h : news.halts)
    log::error("replica-halted",
               {{"shard", number(h.at.shard)},
                {"generation", number(h.at.gen)},
                {"index", h.at.index},
                {"why", h.why},
                {"file", config_.replication.data_file},
                {"next", "start this node with the newest parleyd of the cluster; if it halts "
                         "again, replace its data directory"}});
  for (const auto& d : news.divergences)
    wiring_.peers->diverged(d);
  if (wiring_.observer && news.refused_messages != 0)
    wiring_.observer->refused_messages(news.refused_messages);
  if (wiring_.observer && news.followers_forgot != 0)
    wiring_.observer->followers_forgot(news.followers_forgot);
  for (const auto shard : news.damaged) {
    log::error(
        "replica-damaged",
        {{"shard", number(shard)},
         {"means", "a row of this replica does not match its checksum; another replica leads the shard now"},
         {"next", "replica-mended follows, as soon as the other replicas are a majority without this one; if "
                  "it does not, start the nodes that are away"}});
    if (wiring_.observer)
      wiring_.observer->damaged(shard, true);
  }
  for (const auto shard : news.mended) {
    log::info("replica-mended",
              {{"shard", number(shard)},
               {"means", "the rows of this replica are those of its leader now, checked against their "
                         "checksums, or they are gone, because its shard is elsewhere now; if the same node "
                         "tells of damage again, check its disk"}});
    if (wiring_.observer)
      wiring_.observer->damaged(shard, false);
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
  if (wiring_.observer)
    wiring_.observer->has_room(*news.has_room);
  if (*news.has_room)
    log::info("disk-has-room", {{"means", "this node stores messages again"}});
  else {
    const bool others =
        std::ranges::any_of(engine_.status(), [](const auto& r) { return r.members.size() > 1; });
    log::warn("disk-full",
              {{"bytes_free", env_.room().bytes_free},
               {"means", std::string{"the reserve (limits.disk_reserve) is reached: this node takes no new "
                                     "messages, and "} +
                             (others ? "members with room, if there are any, lead its shards"
                                     : "no other node has replicas of its shards, so nobody takes them")},
               {"next", "free space on the disk of the data directory, or enlarge it"}});
  }
}

std::uint64_t store_loop::remember(const result_sink& reply_to, std::uint64_t ticket, std::size_t bytes) {
  const auto n = ++last_ticket_;
  if (reply_to) {
    proposals_.emplace(n, waiting{reply_to, ticket, bytes, {}, {}});
    bytes_ += bytes;
  }
  return n;
}

std::optional<store_loop::waiting> store_loop::take(std::uint64_t engines_ticket) {
  auto w = proposals_.extract(engines_ticket);
  if (w.empty())
    return std::nullopt;
  bytes_ -= w.mapped().bytes;
  return std::move(w.mapped());
}

void store_loop::hand_out(events& news) {
  report_halts(news);
  results out;
  for (const auto& r : news.refusals)
    if (const auto w = take(r.ticket))
      out.add(w->reply_to, {w->ticket, r.why, false, {}});
  for (const auto& r : news.reads)
    reads_.push_back(r.ticket);
  if (news.leaderships.empty())
    return;
  for (const auto& l : news.leaderships) { // the shard first: the router's next call may be for it
    machine_.set_leading(l.shard, l.ready);
    if (auto s = wiring_.shards.find(number(l.shard)); s != wiring_.shards.end())
      caf::anon_send(s->second, l);
  }
  caf::anon_send(wiring_.router, leadership_news{std::move(news.leaderships)});
}

/// Sends the results of applied commands: answers to the proposers, debts and arrivals to shards led here.
std::size_t store_loop::hand_out_results(time_point now) {
  auto left = machine_.take_results();
  results out;
  for (auto& a : left.answers)
    if (const auto w = take(a.ticket))
      out.add(w->reply_to, {w->ticket, ec::none, false, std::move(a.what)});
  std::unordered_map<std::uint16_t, shard_effects> effects;
  for (auto& d : left.debts)
    effects[number(d.shard)].debts.push_back(std::move(d));
  for (auto& a : left.arrivals)
    effects[number(a.shard)].arrivals.push_back(std::move(a));
  for (auto& [shard, e] : effects) {
    e.applied_at = now;
    if (auto s = wiring_.shards.find(shard); s != wiring_.shards.end())
      caf::anon_send(s->second, std::move(e));
  }
  return left.answers.size();
}

void store_loop::publish(publishing when) {
  if (const auto error = env_.publish(when); error != ec::none)
    stop_process("what is committed could not be published", error);
}

/// Whether readers see all that was applied of what the read is about.
bool store_loop::visible(const waiting& read) const {
  return env_.all_visible() || planted("unseen-taken-for-seen") ||
         std::visit(overloaded{
                        [](std::monostate) { return false; },
                        [&](auto of) {
                          return std::ranges::all_of(rows::rows_of(of), [&](const auto& key) {
                            return env_.visible(read.shard, key);
                          });
                        },
                    },
                    read.about);
}

/// Answers the reads whose rounds are over: from now on what was applied before the rounds can be read. Under
/// load each turn has both commands and reads, and a publish for each would undo what the journal saves: most reads are
/// about somebody of whom nothing has changed since the last one.
/// Whether it has published.
bool store_loop::answer_reads(time_point now) {
  results out;
  const auto answer = [&](const waiting& w) { out.add(w.reply_to, {w.ticket, ec::none, true, {}}); };
  for (const auto ticket : std::exchange(reads_, {})) {
    const auto w = proposals_.find(ticket);
    if (w == proposals_.end())
      continue;
    if (visible(w->second))
      answer(*take(ticket));
    else
      late_reads_.push_back(ticket);
  }
  if (late_reads_.empty())
    return false;
  const bool must_publish = !env_.all_visible();
  if (must_publish) {
    const auto due = reads_published_at_ + config_.publish_reads_every;
    if (now < due) {
      if (!std::exchange(reads_armed_, true))
        driver_.show_reads_in(due - now);
      return false;
    }
    publish(publishing::now);
    shown(now);
  }
  for (const auto ticket : std::exchange(late_reads_, {}))
    if (const auto w = take(ticket))
      answer(*w);
  return must_publish;
}

bool store_loop::begin(time_point now) {
  turn_queued_ = false;
  auto early = engine_.begin_turn(clock(now));
  hand_out_frames(early);
  return !early.frames.empty();
}

bool store_loop::wants_write() const {
  return engine_.wants_write() || !node_rows_.empty();
}

void store_loop::write() {
  txn_ = env_.begin_write();
  written_rows_ = std::exchange(node_rows_, {});
  for (const auto& r : written_rows_)
    txn_->put(storage::table::node, r.key, r.value);
  promised_ = engine_.write(*txn_, env_.room());
  if (const auto shard = engine_.unreadable()) {
    txn_.reset();
    stop_unreadable(env_, *shard);
  }
  if (!written_rows_.empty())
    promised_ = storage::durable::now;
}

void store_loop::answer(time_point now) {
  commands_ = hand_out_results(now); // their log entries are on a majority's disks already
}

storage::durable store_loop::commit() {
  if (const auto error = txn_->commit(promised_); error != ec::none)
    stop_process("a commit failed", error);
  txn_.reset();
  return promised_;
}

void store_loop::committed(std::chrono::nanoseconds took, time_point now) {
  if (wiring_.observer)
    wiring_.observer->committed(commands_, took);
  if (promised_ == storage::durable::now)
    engine_.synced(std::chrono::duration_cast<milliseconds>(took), clock(now));
  for (const auto& r : std::exchange(written_rows_, {}))
    r.durable();
}

bool store_loop::finish(time_point now) {
  auto late = engine_.end_turn(clock(now));
  hand_out_frames(late);
  // A shard that begins to lead reads what was applied before; frames do not wait for it.
  publish(late.news.leaderships.empty() ? publishing::if_due : publishing::now);
  hand_out(late.news);
  const bool published = answer_reads(now);
  if (engine_.wants_write())
    queue_turn();
  return published;
}

bool store_loop::has_room(const proposal& p) const {
  const auto most = [&](std::size_t all) { return p.from_clients ? for_messages(all) : all; };
  return proposals_.size() + merging_.size() < most(config_.proposals_max) &&
         bytes_ + p.command.size() <= most(config_.proposals_bytes_max);
}

void store_loop::propose(proposal& p) {
  const auto ticket = remember(p.reply_to, p.ticket, p.command.size()); // before the command is moved from
  engine_.propose(p.shard, ticket, std::move(p.command), p.frees_room);
}

/// A round costs every replica a sync and a dozen threads a wake-up, whether it has one command or a hundred.
void store_loop::wait_for_others(proposal& p) {
  if (merging_.empty())
    driver_.propose_kept_in(config_.merge_within);
  bytes_ += p.command.size();
  merging_.push_back(std::move(p));
}

void store_loop::propose_kept() {
  for (auto& p : std::exchange(merging_, {})) {
    bytes_ -= p.command.size();
    propose(p);
  }
  queue_turn();
}

void store_loop::open(store_wiring wiring, time_point now) {
  wiring_ = std::move(wiring);
  if (const auto fault = engine_.open(env_, *wiring_.peers, clock(now)))
    stop_process(fault->what, fault->code);
  open_ = true;
}

std::chrono::milliseconds store_loop::tick(time_point now) {
  engine_.tick(clock(now));
  queue_turn();
  const auto in = static_cast<std::int64_t>(engine_.next_tick()) - static_cast<std::int64_t>(clock(now));
  return std::chrono::milliseconds{std::clamp<std::int64_t>(in, 5, 1000)};
}

void store_loop::propose(proposal_batch& batch) {
  results refused;
  for (auto& p : batch.proposals) {
    if (!open_ || !has_room(p)) {
      refused.add(p.reply_to, {p.ticket, ec::overloaded, false, {}});
    } else if (p.can_wait) {
      wait_for_others(p);
    } else {
      propose(p);
      queue_turn();
    }
  }
}

void store_loop::read(const fresh_read& r) {
  if (!open_ || proposals_.size() >= config_.proposals_max) {
    results{}.add(r.reply_to, {r.ticket, ec::overloaded, false, {}});
    return;
  }
  const auto ticket = remember(r.reply_to, r.ticket);
  if (auto w = proposals_.find(ticket); w != proposals_.end()) {
    w->second.shard = r.shard;
    w->second.about = r.about;
  }
  engine_.read(r.shard, ticket);
  queue_turn();
}

void store_loop::receive(const raft_payloads& p, time_point now) {
  if (wiring_.peers)
    wiring_.peers->taken(p.frames);
  if (!open_)
    return;
  for (const auto& bytes : p.frames)
    engine_.receive(p.from, bytes, clock(now));
  queue_turn();
}

void store_loop::lose(node_id peer) {
  if (!open_)
    return;
  engine_.peer_reset(peer);
  queue_turn();
}

void store_loop::meet(node_id peer) {
  if (!open_)
    return;
  engine_.peer_begun(peer);
  queue_turn();
}

void store_loop::keep(node_row row) {
  if (!open_)
    return;
  node_rows_.push_back(std::move(row));
  queue_turn();
}

void store_loop::damaged(shard_id shard) {
  if (!open_)
    return;
  engine_.damaged(shard);
  queue_turn();
}

void store_loop::seal(const seal_request& r) {
  if (!open_)
    return;
  engine_.seal(r.shard, r.next, remember(result_sink{}, 0), r.of);
  queue_turn();
}

void store_loop::transfer(const transfer_request& r) {
  if (!open_)
    return;
  if (engine_.offer_leadership(r.shard, r.to))
    log::info("leadership-offered",
              {{"shard", r.shard},
               {"to", r.to},
               {"means", "this node leads more shards than that one, and nothing else happens; unless "
                         "that one is stopped, it leads the shard within an election time-out"}});
  queue_turn();
}

void store_loop::drain() {
  if (!open_)
    return;
  propose_kept();
  engine_.hand_over_all();
  queue_turn();
}

bool store_loop::show_reads(time_point now) {
  if (!open_)
    return false;
  reads_armed_ = false;
  publish(publishing::now);
  shown(now);
  answer_reads(now);
  return true;
}

void store_loop::report(const report_sink& to) {
  if (wiring_.observer)
    wiring_.observer->members(engine_.silent_members(), engine_.lagging_members());
  caf::anon_send(to, replica_report{engine_.status()});
}

std::vector<shard_id> store_loop::whole_without(node_id node) const {
  return engine_.whole_without(node);
}

void store_loop::close() {
  if (open_)
    publish(publishing::now);
}

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

} // namespace parley::cluster
