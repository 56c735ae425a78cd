// The store with a real engine of one replica and a disk in memory, as an actor in real time or as a loop at the
// test's times: what it keeps back, and how it answers.
#include "actors/core/commands.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "cluster/node/store.hpp"
#include "cluster/replication/peer_bodies.hpp"
#include "tests/support/patience.hpp"
#include "tests/support/virtual_environment.hpp"

#include <atomic>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <condition_variable>
#include <doctest/doctest.h>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

constexpr shard_id s0{0};
const member self{node_id{1}, disk_id{100}};

/// Results, and the commands of each commit, from the store's thread.
struct witness final : store_observer {
  std::mutex mutex;
  std::condition_variable news;
  std::map<std::uint64_t, ec> answered;
  std::vector<shard_id> damages;
  std::vector<bool> room;           ///< each change of it
  std::vector<std::size_t> commits; ///< commands of each that had any

  void committed(std::size_t commands, std::chrono::nanoseconds) override {
    std::lock_guard guard{mutex};
    if (commands != 0)
      commits.push_back(commands);
    news.notify_all();
  }
  void refused_messages(std::uint64_t) override {}
  void has_room(bool yes) override {
    std::lock_guard guard{mutex};
    room.push_back(yes);
    news.notify_all();
  }
  void members(std::vector<silent_member>, std::vector<lagging_member>) override {}
  void damaged(shard_id shard, bool) override {
    std::lock_guard guard{mutex};
    damages.push_back(shard);
    news.notify_all();
  }
  void add(const result_batch& b) {
    std::lock_guard guard{mutex};
    for (const auto& r : b.results)
      answered[r.ticket] = r.error;
    news.notify_all();
  }
  template <class F>
  bool wait_until(F happened) {
    std::unique_lock lock{mutex};
    return news.wait_for(lock, test::patient(10s), happened);
  }
  bool wait_for(std::size_t n) {
    return wait_until([&] { return answered.size() >= n; });
  }
  /// Answers come before the commit that they belong to.
  bool wait_for_commands(std::size_t n) {
    std::unique_lock lock{mutex};
    return news.wait_for(lock, test::patient(10s),
                         [&] { return std::accumulate(commits.begin(), commits.end(), 0ul) >= n; });
  }
};

/// Keeps how many commits the last publish showed to readers.
struct watched_environment final : test::virtual_environment {
  std::atomic<std::uint64_t> published{0}, publishes{0};
  ec publish(publishing when) override {
    if (when == publishing::now && !all_visible()) {
      published = commits();
      ++publishes;
    }
    return ec::none;
  }
  bool all_visible() const override { return published == commits(); }
  std::set<std::string, std::less<>> changed; ///< beginnings that readers do not see yet
  bool visible(shard_id, std::string_view beginning) const override { return !changed.contains(beginning); }
  std::atomic<bool> full{false}; ///< the test's thread sets it
  std::atomic<bool> hangs{false},
      hung{false}; ///< a turn begins with a look at the disk: there the store waits
  storage::space room() override {
    if (hangs) {
      hung = true;
      hung.notify_all();
      hangs.wait(true);
    }
    return full ? storage::space{0, false} : test::virtual_environment::room();
  }
};

/// The only replica has no peers.
struct no_peers final : raft_port {
  void send_raft(node_id, std::string) override {}
  std::optional<std::size_t> waiting(node_id) const override { return std::nullopt; }
};

/// Keeps the order of what leaves.
struct recording_peers final : raft_port {
  std::mutex mutex;
  std::condition_variable news;
  std::vector<std::string> left;
  void add(std::string what) {
    std::lock_guard guard{mutex};
    left.push_back(std::move(what));
    news.notify_all();
  }
  /// Only answers to questions: of what else it says, a replica begins some with its start.
  void send_raft(node_id, std::string frame) override {
    frame_reader in{frame};
    for (cluster::message_view m; in.next(m);)
      if (m.header.type == message_type::read_answer)
        add("answer");
  }
  void disk_forgot(const cluster::disk_forgot&) override { add("forgot"); }
  std::optional<std::size_t> waiting(node_id) const override { return 0; }
};

struct surroundings {
  watched_environment env;
  no_peers peers; ///< outlives the actors
  witness seen;   ///< outlives the actors
  caf::actor_system_config settings;
  caf::actor_system system{settings};
  result_sink sink = system.spawn([this](result_sink::pointer) -> result_sink::behavior_type {
    return {[this](const result_batch& b) { seen.add(b); }};
  });
  store_config config;

  surroundings() {
    config.replication.node = self.node;
    config.replication.disk = self.disk;
    const auto txn = env.begin_write();
    replication::found(*txn, s0, {self}, self);
    REQUIRE(txn->commit() == ec::none);
  }
  ~surroundings() { caf::anon_send_exit(sink, caf::exit_reason::user_shutdown); }
  store_wiring wired(raft_port& to) {
    store_wiring wiring;
    wiring.observer = &seen;
    wiring.peers = &to;
    return wiring;
  }
  proposal_batch proposals(std::uint64_t ticket, bool can_wait) {
    proposal_batch batch;
    auto p = make_proposal(s0, core::format_number::newest, ticket, sink, core::confirm_debts{0});
    p.can_wait = can_wait;
    batch.proposals.push_back(std::move(p));
    return batch;
  }
};

struct fixture : surroundings {
  wired_store_actor store;

  ~fixture() {
    caf::scoped_actor waiter{system};
    waiter->send_exit(store, caf::exit_reason::user_shutdown);
    waiter->wait_for(store);
  }
  void open() { open(peers); }
  void open(raft_port& to) {
    store = spawn_store(system, config, env);
    caf::anon_send(store, wired(to));
  }
  void propose(std::uint64_t ticket, bool can_wait) { caf::anon_send(store, proposals(ticket, can_wait)); }
  void read(std::uint64_t ticket) { caf::anon_send(store, fresh_read{s0, ticket, sink, {}}); }
  /// Proposes, and waits until it is applied.
  void commit(std::uint64_t ticket) {
    propose(ticket, false);
    REQUIRE(seen.wait_until([&] { return seen.answered.contains(ticket); }));
  }
  /// The only replica leads after its election time-out.
  void lead() {
    for (std::uint64_t ticket = 1'000'000;; ++ticket) {
      propose(ticket, false);
      REQUIRE(seen.wait_for(ticket - 1'000'000 + 1));
      std::lock_guard guard{seen.mutex};
      if (seen.answered.at(ticket) == ec::none)
        break;
    }
    REQUIRE(seen.wait_for_commands(1));
    std::lock_guard guard{seen.mutex};
    seen.answered.clear();
    seen.commits.clear();
  }
};

/// The loop without the actor, at times that the test says.
struct loop_fixture : surroundings, store_driver {
  store_loop::time_point now{1h};
  bool turn = false;
  std::optional<std::chrono::nanoseconds> shows_in;
  std::optional<store_loop> loop;

  void turn_soon() override { turn = true; }
  void propose_kept_in(std::chrono::milliseconds) override {}
  void show_reads_in(std::chrono::nanoseconds in) override { shows_in = in; }

  /// All turns that are wanted. Whether one published for reads.
  bool turns() {
    bool published = false;
    while (std::exchange(turn, false)) {
      loop->begin(now);
      if (loop->wants_write()) {
        loop->write();
        loop->answer(now);
        loop->commit();
        loop->committed({}, now);
      }
      published |= loop->finish(now);
    }
    return published;
  }
  void lead() {
    loop.emplace(config, env, *this);
    loop->open(wired(peers), now);
    while (loop->status().at(0).as != core::replica_status::role::leader) {
      now += loop->tick(now);
      turns();
    }
    commit(); // whoever begins to lead publishes
  }
  void commit() {
    auto batch = proposals(1, false);
    loop->propose(batch);
    turns();
  }
  bool commit_and_read() {
    commit();
    loop->read({s0, 2, sink, {}});
    return turns();
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture, "proposals that can wait count towards the bound of unanswered proposals") {
  config.proposals_max = 10;
  config.merge_within = 10min;
  open();
  lead();
  for (std::uint64_t t = 1; t <= 12; ++t)
    propose(t, true);
  REQUIRE(seen.wait_for(2));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered == std::map<std::uint64_t, ec>{{11, ec::overloaded}, {12, ec::overloaded}});
}

TEST_CASE_FIXTURE(fixture, "proposals are bounded by their bytes too, and make room when they are answered") {
  config.proposals_bytes_max =
      entry_bytes_max + entry_bytes_max / 3; // of which messages may have three quarters
  config.merge_within = 10min;
  open();
  lead();
  const auto large = [&](std::uint64_t ticket) {
    core::append_message m;
    m.what.body = std::string(100'000, 'x');
    proposal_batch batch;
    batch.proposals.push_back(make_proposal(s0, core::format_number::newest, ticket, sink, m));
    batch.proposals.back().can_wait = true;
    caf::anon_send(store, std::move(batch));
  };
  for (std::uint64_t t = 1; t <= 3; ++t)
    large(t);
  REQUIRE(seen.wait_for(1));
  {
    std::lock_guard guard{seen.mutex};
    CHECK(seen.answered == std::map<std::uint64_t, ec>{{3, ec::overloaded}});
  }
  caf::anon_send(store, atom::drain_v); // writes what waits
  REQUIRE(seen.wait_for(3));
  large(4);
  caf::anon_send(store, atom::drain_v);
  REQUIRE(seen.wait_for(4));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered.at(4) == ec::none);
}

TEST_CASE_FIXTURE(fixture, "proposals that are under way count with their bytes, as those that wait do") {
  config.proposals_bytes_max = entry_bytes_max + entry_bytes_max / 3;
  open();
  lead();
  env.hangs = true;
  propose(1, false);
  env.hung.wait(false);
  for (std::uint64_t t = 2; t <= 4; ++t) { // the store comes to them when its turn is over
    core::append_message m;
    m.what.body = std::string(100'000, 'x');
    proposal_batch batch;
    batch.proposals.push_back(make_proposal(s0, core::format_number::newest, t, sink, m));
    caf::anon_send(store, std::move(batch));
  }
  env.hangs = false;
  env.hangs.notify_all();
  REQUIRE(seen.wait_for(4));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered ==
        std::map<std::uint64_t, ec>{{1, ec::none}, {2, ec::none}, {3, ec::none}, {4, ec::overloaded}});
}

TEST_CASE_FIXTURE(fixture, "clients' messages leave room for what has to follow from them") {
  config.proposals_bytes_max = 2 * entry_bytes_max;
  config.merge_within = 10min;
  open();
  lead();
  const auto propose_it = [&](std::uint64_t ticket, const core::command& what) {
    proposal_batch batch;
    batch.proposals.push_back(make_proposal(s0, core::format_number::newest, ticket, sink, what));
    batch.proposals.back().can_wait = true;
    caf::anon_send(store, std::move(batch));
  };
  core::append_message message;
  message.what.body = std::string(60'000, 'x');
  std::uint64_t t = 0;
  while (++t <= 10)
    propose_it(t, message);
  core::append_inbox follows;
  follows.parts.resize(1);
  propose_it(20, follows);
  propose_it(21, core::confirm_debts{0});
  propose_it(22, message);
  REQUIRE(seen.wait_for(5));
  {
    std::lock_guard guard{seen.mutex};
    CHECK(seen.answered == std::map<std::uint64_t, ec>{{7, ec::overloaded},
                                                       {8, ec::overloaded},
                                                       {9, ec::overloaded},
                                                       {10, ec::overloaded},
                                                       {22, ec::overloaded}});
  }
  caf::anon_send(store, atom::drain_v); // writes what waits
  REQUIRE(seen.wait_for(13));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered.at(20) == ec::none);
  CHECK(seen.answered.at(21) == ec::none);
}

TEST_CASE_FIXTURE(fixture, "a drain also writes the proposals that were waiting") {
  config.merge_within = 10min;
  open();
  lead();
  propose(1, true);
  caf::anon_send(store, atom::drain_v);
  REQUIRE(seen.wait_for(1));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered.at(1) == ec::none);
}

TEST_CASE_FIXTURE(fixture, "proposals that can wait are answered, and written together") {
  config.merge_within = 1s; // time enough to send them all
  open();
  lead();
  for (std::uint64_t t = 1; t <= 20; ++t)
    propose(t, true);
  REQUIRE(seen.wait_for(20));
  REQUIRE(seen.wait_for_commands(20));
  std::lock_guard guard{seen.mutex};
  for (const auto& [ticket, error] : seen.answered)
    CHECK(error == ec::none);
  CHECK(seen.commits == std::vector<std::size_t>{20});
}

TEST_CASE_FIXTURE(fixture, "a store that is told to stop publishes all that it committed, and ends") {
  open();
  lead();
  propose(1, false);
  REQUIRE(seen.wait_for(1));
  caf::anon_send(store, atom::stop_v);
  caf::scoped_actor waiter{system};
  waiter->wait_for(store);
  CHECK(env.published == env.commits());
}

TEST_CASE_FIXTURE(fixture, "a proposal that cannot wait is not delayed by those that can") {
  config.merge_within = 10min;
  open();
  lead();
  propose(1, true);
  propose(2, false);
  REQUIRE(seen.wait_for(1));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.answered == std::map<std::uint64_t, ec>{{2, ec::none}});
}

TEST_CASE_FIXTURE(fixture, "reads that come while commands are applied share a publish") {
  config.publish_reads_every = 10min;
  open();
  lead();
  commit(1);
  read(2); // the first in a while
  REQUIRE(seen.wait_until([&] { return seen.answered.contains(2); }));
  const auto publishes = env.publishes.load();

  commit(3);
  read(4);
  commit(5);
  read(6);
  commit(7);
  commit(8);
  {
    std::lock_guard guard{seen.mutex};
    CHECK_FALSE(seen.answered.contains(4));
    CHECK_FALSE(seen.answered.contains(6));
  }
  CHECK(env.publishes == publishes);
  caf::anon_send(store, atom::publish_v); // as the store's own timer does
  REQUIRE(seen.wait_until([&] { return seen.answered.contains(4) && seen.answered.contains(6); }));
  CHECK(env.publishes == publishes + 1);
  CHECK(seen.answered.at(4) == ec::none);
}

TEST_CASE_FIXTURE(fixture,
                  "a publish that the timer made counts: the next one is as far away as after any other") {
  config.publish_reads_every = 10min;
  open();
  lead();
  commit(1);
  caf::anon_send(store, atom::publish_v); // as the store's own timer does
  commit(2);
  const auto publishes = env.publishes.load();
  read(3);
  commit(4);
  commit(5);
  CHECK(env.publishes == publishes);
  std::lock_guard guard{seen.mutex};
  CHECK_FALSE(seen.answered.contains(3));
}

TEST_CASE_FIXTURE(loop_fixture, "a publish for reads that takes long makes the next one come no sooner") {
  config.publish_reads_every = 20ms;
  lead();
  const auto slow_publish = [&] { loop->shown(now += 100ms); };
  REQUIRE(commit_and_read());
  slow_publish();
  now += 5ms;
  CHECK_FALSE(commit_and_read());
  REQUIRE(shows_in == 15ms);
  now += 15ms;
  REQUIRE(loop->show_reads(now));
  slow_publish();
  CHECK_FALSE(commit_and_read());
  CHECK(shows_in == 20ms);
}

TEST_CASE_FIXTURE(loop_fixture, "a read about somebody of whom nothing has changed waits for no publish") {
  config.publish_reads_every = 10min;
  lead();
  REQUIRE(commit_and_read()); // the first in a while; from here on another one is far away
  const user_id changed{7}, not_changed{8};
  env.changed.emplace(rows::rows_of(changed)[1]);
  commit();
  const auto publishes = env.publishes.load();
  loop->read({s0, 10, sink, not_changed});
  loop->read({s0, 11, sink, changed});
  loop->read({s0, 12, sink, {}}); // may be about anybody
  turns();
  REQUIRE(seen.wait_until([&] { return seen.answered.contains(10); }));
  CHECK(seen.answered.at(10) == ec::none);
  CHECK(env.publishes == publishes);
  CHECK(shows_in);
  {
    std::lock_guard guard{seen.mutex};
    CHECK_FALSE(seen.answered.contains(11));
    CHECK_FALSE(seen.answered.contains(12));
  }
  REQUIRE(loop->show_reads(now += 10min));
  REQUIRE(seen.wait_until([&] { return seen.answered.contains(11) && seen.answered.contains(12); }));
  CHECK(env.publishes == publishes + 1);
}

TEST_CASE_FIXTURE(fixture, "a read that waits for a publish is answered soon, however few commands follow") {
  open();
  lead();
  for (std::uint64_t ticket = 10; ticket < 20; ++ticket) {
    commit(ticket + 100);
    read(ticket);
    REQUIRE(seen.wait_until([&] { return seen.answered.contains(ticket); }));
  }
}

TEST_CASE_FIXTURE(fixture, "with a full disk, what frees room is still taken, and nothing else is") {
  open();
  lead();
  env.full = true;
  const auto ask = [&](std::uint64_t ticket, const core::command& what) {
    proposal_batch batch;
    batch.proposals.push_back(make_proposal(s0, core::format_number::newest, ticket, sink, what));
    batch.proposals.back().can_wait = false;
    caf::anon_send(store, std::move(batch));
    REQUIRE(seen.wait_until([&] { return seen.answered.contains(ticket); }));
    std::lock_guard guard{seen.mutex};
    return seen.answered.at(ticket);
  };
  ask(1, core::raise_watermarks{}); // the room is looked at in each turn
  CHECK(ask(2, core::raise_watermarks{}) == ec::disk_full);
  CHECK(ask(3, core::confirm_debts{}) == ec::none);
  CHECK(ask(4, core::advance_cursor{}) == ec::none);
  CHECK(ask(5, core::append_message{}) == ec::disk_full);
}

TEST_CASE_FIXTURE(fixture, "that the disk has no room, or again has some, is told once each time") {
  open();
  lead();
  env.full = true;
  CHECK(seen.wait_until([&] { return seen.room == std::vector<bool>{false}; }));
  env.full = false;
  CHECK(seen.wait_until([&] { return seen.room == std::vector<bool>{false, true}; }));
}

TEST_CASE_FIXTURE(fixture, "a damaged row is told once, however often readers meet it") {
  open();
  lead();
  for (int i = 0; i < 3; ++i)
    caf::anon_send(store, damaged_row{s0});
  caf::anon_send(store, damaged_row{shard_id{7}}); // not here
  CHECK(seen.wait_until([&] { return !seen.damages.empty(); }));
  read(1); // behind all of them
  CHECK(seen.wait_until([&] { return seen.answered.contains(1); }));
  std::lock_guard guard{seen.mutex};
  CHECK(seen.damages == std::vector{s0});
}

TEST_CASE_FIXTURE(fixture, "that its disk forgot is told before anything of the same turn leaves the node") {
  constexpr shard_id s1{1};
  const member other{node_id{2}, disk_id{200}};
  {
    const auto txn = env.begin_write();
    replication::found(*txn, s1, {self, other}, self);
    const shard_id s2{2};
    replication::found(*txn, s2, {self, other}, self);
    REQUIRE(txn->commit() == ec::none);
  }
  recording_peers recording;
  open(recording);
  // In one batch: a question that is answered at once, and what the other node knows of the other replica.
  frame_batcher batch{64 << 10};
  const auto header = [&](message_type type, shard_id shard) {
    return message_header{type, shard, generation{1}, raft_id(shard, generation{1}, other),
                          raft_id(shard, generation{1}, self)};
  };
  const auto early = frame_batcher::leaves::early;
  put_body(batch.start(self.node, early, header(message_type::read_ask, shard_id{2})), read_body{1, 1});
  batch.finish();
  put_body(batch.start(self.node, early, header(message_type::position, s1)), position_body{1, 100, 0});
  batch.finish();
  std::vector<frame> frames;
  batch.take(early, frames);
  raft_payloads payloads;
  payloads.from = other.node;
  for (auto& f : frames)
    payloads.frames.push_back(std::move(f.bytes));
  caf::anon_send(store, std::move(payloads));
  std::unique_lock lock{recording.mutex};
  REQUIRE(recording.news.wait_for(lock, test::patient(10s), [&] { return recording.left.size() >= 2; }));
  CHECK(recording.left[0] == "forgot");
  CHECK(recording.left[1] == "answer");
  lock.unlock();
  {
    caf::scoped_actor waiter{system}; // before `recording` ends
    waiter->send_exit(store, caf::exit_reason::user_shutdown);
    waiter->wait_for(store);
  }
}
