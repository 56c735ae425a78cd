#include "tests/actors/router_fixture.hpp"

using namespace parley;
using namespace parley::test;
using fixture = router_fixture;

TEST_CASE_FIXTURE(fixture, "a call for a shard that does not exist is refused") {
  start();
  ask(1, shard_id{99});
  CHECK(told(1) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture, "a call whose shard has no leader waits, but not for ever") {
  start();
  ask(1, remote);
  wait(1s);
  CHECK(asker.answers.take().empty());
  wait(2s);
  CHECK(told(1) == ec::unavailable);
}

TEST_CASE_FIXTURE(fixture, "the number of calls that wait for a leader is bounded") {
  config.parked_max = 1;
  start();
  ask(1, remote);
  ask(2, remote);
  CHECK(told(2) == ec::unavailable);
}

TEST_CASE_FIXTURE(fixture, "the bytes of calls that wait for a leader are bounded, and room comes back") {
  config.parked_bytes_max = 3000;
  start();
  const core::propose large{remote, std::string(1000, 'x')};
  ask(1, large);
  ask(2, large);
  ask(3, large);
  CHECK(told(3) == ec::unavailable);
  SUBCASE("when they leave") {
    leads(remote, there);
    leads(remote, node_id::none);
  }
  SUBCASE("when they are refused") {
    wait(3s);
    asker.answers.take();
  }
  ask(4, large);
  ask(5, large);
  CHECK(asker.answers.take().empty());
  ask(6, large);
  CHECK(told(6) == ec::unavailable);
}

TEST_CASE_FIXTURE(
    fixture,
    "a call that cannot be sent to its node is refused at once, because it was certainly not stored") {
  start();
  leads(remote, there);
  peers.reachable = false;
  ask(1, remote);
  CHECK(told(1) == ec::unavailable);
}

TEST_CASE_FIXTURE(fixture, "the number of calls that are under way to other nodes is bounded") {
  config.forwarded_max = 1;
  start();
  leads(remote, there);
  ask(1, remote);
  ask(2, remote);
  CHECK(told(2) == ec::overloaded);
  CHECK(refused.calls_to_nodes == 1);
  peer_answers(there, peers.take<core::calls_payload>().at(0).number);
  CHECK(told(1) == ec::none);
  ask(3, remote); // there is room again
  CHECK(peers.take<core::calls_payload>().size() == 1);
}

TEST_CASE_FIXTURE(
    fixture,
    "a forwarded call that is not answered in time has an unknown outcome, and a late answer is ignored") {
  config.answer_within = 1s;
  start();
  leads(remote, there);
  ask(1, remote);
  const auto sent = peers.take<core::calls_payload>();
  wait(1200ms);
  CHECK(told(1) == ec::timed_out);
  peer_answers(there, sent.at(0).number);
  CHECK(asker.answers.take().empty());
}

TEST_CASE_FIXTURE(fixture, "when a peer is lost, the calls to it end, and no others do") {
  start();
  leads(remote, there);
  leads(shard_id{2}, elsewhere);
  ask(1, remote);
  ask(2, shard_id{2});
  caf::anon_send(it, peer_lost{there});
  run();
  CHECK(told(1) == ec::timed_out);
}

TEST_CASE_FIXTURE(
    fixture, "when a session with a peer begins, the users whose shards it leads hear of it, because pushes "
             "may be lost") {
  start();
  leads(local, here);
  leads(remote, there);
  leads(shard_id{2}, elsewhere);
  connect(1, local);
  connect(2, remote);
  connect(3, shard_id{2});
  connect(4, remote);
  caf::anon_send(it, session_gone{4});
  meets(there);
  wait(2s);
  CHECK(rehomed.take() == std::vector<std::uint64_t>{2}); // once
  wait(2s);
  CHECK(rehomed.take().empty());
  meets(there);
  wait(2s);
  CHECK(rehomed.take() == std::vector<std::uint64_t>{2});
}

TEST_CASE_FIXTURE(fixture, "without the peer nobody is told, because they would ask it in vain") {
  start();
  leads(remote, there);
  connect(1, remote);
  caf::anon_send(it, peer_lost{there});
  wait(5s);
  CHECK(rehomed.take().empty());
}

TEST_CASE_FIXTURE(
    fixture, "many sessions are told one after the other, and each once, however often the link is reset") {
  start();
  leads(remote, there);
  for (std::uint64_t n = 1; n <= 100; ++n)
    connect(n, remote);
  meets(there);
  std::set<std::uint64_t> told;
  std::size_t sweeps = 0;
  for (; told.size() < 100 && sweeps < 100; ++sweeps) {
    meets(there);
    advance(100ms);
    const auto now = rehomed.take();
    CHECK(now.size() <= 20);
    told.insert(now.begin(), now.end());
    if (sweeps == 2)
      break;
  }
  CHECK_FALSE(told.empty()); // resets do not put it off
  rehomed.take();
  for (int i = 0; i < 11; ++i) {
    advance(100ms);
    const auto now = rehomed.take();
    CHECK(now.size() <= 20);
    told.insert(now.begin(), now.end());
  }
  CHECK(told.size() == 100);
  wait(2s);
  CHECK(rehomed.take().empty());
}

TEST_CASE_FIXTURE(fixture, "an answer of a node that was not asked, or of another kind, ends no call") {
  start();
  leads(remote, there);
  ask(1, remote);
  const auto asked = peers.take<core::calls_payload>().at(0).number;
  peer_answers(elsewhere, asked);
  from_peer(there, core::answers_payload{{{asked, core::answer_to<core::attach>{}}}});
  CHECK(asker.answers.take().empty());
  CHECK(counters.payloads_refused == 2);
  peer_answers(there, asked);
  CHECK(told(1) == ec::none);
  peer_answers(there, asked); // once
  CHECK(asker.answers.take().empty());
  CHECK(counters.payloads_refused == 2);
}

TEST_CASE_FIXTURE(fixture, "an answer of another kind than the call of a peer is not passed on to it") {
  start();
  leads(local, here);
  peer_asks(there, 77, local);
  const auto asked = at_shard.take().at(0).number;
  peers.sent.clear();
  const auto answer = [&](core::answer what) {
    answer_batch b;
    b.answers.push_back({asked, std::move(what)});
    caf::anon_send(it, std::move(b));
    run();
  };
  answer(core::answer_to<core::attach>{});
  CHECK(peers.sent.empty());
  answer(core::answer_to<core::propose>{});
  CHECK(peers.take<core::answers_payload>().size() == 1);
}

TEST_CASE_FIXTURE(
    fixture,
    "a node that does not lead answers `not_leader` and never forwards the call, so that no loop arises") {
  start();
  leads(remote, there);
  peer_asks(elsewhere, 5, remote);
  const auto back = peers.take<core::answers_payload>();
  REQUIRE(back.size() == 1);
  CHECK(back[0].number == 5);
  CHECK(core::error_of(back[0].what) == ec::not_leader);
}

TEST_CASE_FIXTURE(
    fixture, "a refusal by an old leader reaches the caller, whose next attempt is sent to the new one") {
  start();
  leads(remote, there);
  ask(1, remote);
  peer_answers(there, peers.take<core::calls_payload>().at(0).number, ec::not_leader);
  CHECK(told(1) == ec::not_leader);
  leads(remote, elsewhere);
  ask(2, remote);
  REQUIRE(peers.sent.size() == 1);
  CHECK(peers.sent[0].first == elsewhere);
}

TEST_CASE_FIXTURE(fixture, "the number of calls of other nodes that are under way here is bounded") {
  config.hosted_max = 1;
  start();
  leads(local, here);
  peers.sent.clear();
  peer_asks(there, 5, local);
  peer_asks(there, 6, local);
  CHECK(at_shard.take().size() == 1);
  const auto back = peers.take<core::answers_payload>();
  REQUIRE(back.size() == 1);
  CHECK(back[0].number == 6);
  CHECK(core::error_of(back[0].what) == ec::overloaded);
  CHECK(refused.calls_of_nodes == 1);
}

TEST_CASE_FIXTURE(fixture, "a call of another node that gets no answer is forgotten in the end") {
  config.hosted_max = 1;
  config.hosted_within = 1s;
  start();
  leads(local, here);
  peers.sent.clear();
  peer_asks(there, 5, local);
  const auto lost = at_shard.take();
  wait(1200ms);
  const auto back = peers.take<core::answers_payload>();
  REQUIRE(back.size() == 1);
  CHECK(core::error_of(back[0].what) == ec::timed_out);
  CHECK(core::kind_of(back[0].what) == core::kind_of(core::call{core::propose{}}));
  peer_asks(there, 6, local); // there is room again
  CHECK(at_shard.take().size() == 1);
  answer_batch late;
  late.answers.push_back({lost.at(0).number, core::answer_to<core::propose>{}});
  caf::anon_send(it, std::move(late));
  run();
  CHECK(peers.take<core::answers_payload>().empty());
}

TEST_CASE_FIXTURE(fixture, "a call waits for a shard that this node leads but cannot serve yet") {
  start();
  leads(local, here, false);
  ask(1, local);
  CHECK(at_shard.take().empty());
  leads(local, here);
  CHECK(at_shard.take().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "waiting calls are sent to the leader as soon as there is one") {
  start();
  ask(1, remote);
  ask(2, remote);
  leads(remote, there);
  CHECK(peers.take<core::calls_payload>().size() == 2); // in one payload
}

TEST_CASE_FIXTURE(fixture, "a new leadership of this node is announced to every other node once") {
  start();
  leads(local, here);
  CHECK(told_of(local) == std::vector{there, elsewhere});
  leads(local, here);
  CHECK(peers.sent.empty());
}

TEST_CASE_FIXTURE(fixture, "a peer that connects later learns which shards are led here, a founder or not") {
  const node_id newcomer{7};
  start();
  leads(local, here);
  peers.sent.clear();
  caf::anon_send(it, peer_begun{newcomer});
  run();
  CHECK(told_of(local) == std::vector{newcomer});
  leads(shard_id{2}, here);
  CHECK(told_of(shard_id{2}) == std::vector{there, elsewhere, newcomer});
  caf::anon_send(it, peer_lost{newcomer});
  leads(shard_id{3}, here);
  CHECK(told_of(shard_id{3}) == std::vector{there, elsewhere});
}

TEST_CASE_FIXTURE(fixture, "peers are told again: what they did not believe then, they may need later") {
  config.announce_every = 1s;
  start();
  leads(local, here);
  peers.sent.clear();
  wait(1200ms);
  CHECK(told_of(local) == std::vector{there, elsewhere});
  leads(local, there);
  peers.sent.clear();
  wait(1200ms);
  CHECK(peers.sent.empty()); // nothing is led here
}

TEST_CASE_FIXTURE(fixture, "a node without a replica of a shard learns from its leader who that is") {
  start();
  ask(1, local); // every shard has its actor here
  CHECK(peers.sent.empty());
  from_peer(there, core::leads_payload{{local, shard_id{400}}});
  CHECK(peers.take<core::calls_payload>().size() == 1);
  from_peer(elsewhere, core::leads_payload{{local}});
  CHECK(way_of(local) == elsewhere);
}

TEST_CASE_FIXTURE(fixture,
                  "the users of a leader that was deposed and elected again announce themselves again") {
  start();
  const auto leads_since = [&](node_id who, std::uint64_t term) {
    from_peer(who, core::leads_payload{{remote}, {{generation{1}, term}}});
  };
  leads_since(there, 5);
  connect(1, remote);
  rehomed.take();
  leads_since(there, 5); // said again
  CHECK(rehomed.take().empty());
  leads_since(there, 7); // its actors know nobody
  CHECK(rehomed.take().size() == 1);
  leads_since(elsewhere, 6); // has not heard yet that it was deposed
  CHECK(way_of(remote) == there);
  SUBCASE("with a replica here as well") {
    const auto follows = [&](std::uint64_t term, node_id leader) {
      leadership_news n;
      n.changes.push_back({remote, generation{1}, term, leader, false, true});
      caf::anon_send(it, std::move(n));
      run();
    };
    follows(7, there);
    CHECK(rehomed.take().empty());
    follows(8, there);
    CHECK(rehomed.take().size() == 1);
    follows(12, node_id::none); // a candidate, whose term becomes no leadership
    halts(remote, node_id::none);
    leads_since(elsewhere, 9);
    CHECK(way_of(remote) == elsewhere);
  }
}

TEST_CASE_FIXTURE(fixture,
                  "who leads is known outside, from replicas here and from peers, as calls are routed") {
  start();
  leads(local, here);
  from_peer(there, core::leads_payload{{remote}});
  const auto known = counters.cluster.read().leaders;
  REQUIRE(known.size() == config.shards);
  CHECK(known[number(local)] == here);
  CHECK(known[number(remote)] == there);
  CHECK(known[2] == node_id::none);
}

TEST_CASE_FIXTURE(fixture, "a node whose replica halted believes the peer that leads its shard") {
  start();
  leads(local, there);
  from_peer(elsewhere, core::leads_payload{{local}});
  CHECK(way_of(local) == there); // the replica here knows better
  halts(local, there);
  CHECK(way_of(local) == there); // known last
  from_peer(elsewhere, core::leads_payload{{local}});
  CHECK(way_of(local) == elsewhere);
  halts(local, there); // what is known of old displaces nothing
  CHECK(way_of(local) == elsewhere);
  leads(local, there); // it takes part again
  CHECK(way_of(local) == there);
}

TEST_CASE_FIXTURE(fixture, "calls for a shard whose replica halted while it led wait for the next leader") {
  start();
  leads(local, here);
  halts(local, node_id::none);
  CHECK(way_of(local) == node_id::none);
  CHECK(at_shard.take().empty());
  from_peer(there, core::leads_payload{{local}});
  CHECK(peers.take<core::calls_payload>().size() == 1);
}

TEST_CASE_FIXTURE(fixture, "what a peer says of a shard whose replica here takes part is not believed") {
  start();
  leads(local, node_id::none); // an election is under way
  from_peer(there, core::leads_payload{{local, remote}});
  ask(1, local);
  ask(2, remote);
  const auto left = peers.take<core::calls_payload>();
  REQUIRE(left.size() == 1);
  CHECK(std::get<core::propose>(left[0].what).shard == remote);
}

TEST_CASE_FIXTURE(fixture, "a call of another node is answered to that node, under the number that it gave") {
  start();
  leads(local, here);
  peers.sent.clear();
  peer_asks(there, 77, local);
  const auto calls = at_shard.take();
  REQUIRE(calls.size() == 1);
  answer_batch b;
  b.answers.push_back({calls[0].number, core::answer_to<core::propose>{}});
  caf::anon_send(calls[0].reply_to, std::move(b));
  run();
  REQUIRE(peers.sent.size() == 1);
  CHECK(peers.sent[0].first == there);
  CHECK(peers.take<core::answers_payload>().at(0).number == 77);
}

TEST_CASE_FIXTURE(
    fixture, "bytes of a peer that name no known payload are refused and counted, not dropped in silence") {
  start();
  leads(local, here);
  peers.sent.clear();
  from_peer_bytes(there, "\xff of a newer version");
  from_peer_bytes(there, "");
  auto cut = core::encode(core::peer_payload{core::leads_payload{{remote}}});
  cut.pop_back();
  from_peer_bytes(there, cut);
  CHECK(counters.payloads_refused == 3);
  peer_asks(there, 5, local); // and what it sends next is served
  CHECK(at_shard.take().size() == 1);
  CHECK(counters.payloads_refused == 3);
}

TEST_CASE_FIXTURE(fixture,
                  "deliveries that the link does not accept are counted, and their sessions pull the rows") {
  start();
  peers.reachable = false;
  deliver(3, 10);
  CHECK(counters.payloads_unsent == 1);
  CHECK(peers.sent.empty());
}

TEST_CASE_FIXTURE(
    fixture, "items that exceed one payload are split in order, and a single larger item is sent alone") {
  config.payload_bytes_max = 4096;
  start();
  deliver(50, 1000);
  CHECK(peers.largest <= 4096);
  CHECK(peers.sent.size() >= 13);
  const auto items = peers.take<core::deliveries_payload>();
  REQUIRE(items.size() == 50);
  for (std::uint64_t i = 0; i < items.size(); ++i)
    CHECK(items[i].after == inbox_pos{i});
  deliver(2, 10'000);
  CHECK(peers.sent.size() == 2);
}

TEST_CASE_FIXTURE(
    fixture, "a command of another node that cannot be read is refused, because replicas would halt at it") {
  start();
  leads(local, here);
  peers.sent.clear();
  from_peer(there, core::calls_payload{{{5, core::propose{local, "\xff", 0}}}});
  CHECK(at_shard.take().empty());
  const auto back = peers.take<core::answers_payload>();
  REQUIRE(back.size() == 1);
  CHECK(core::error_of(back[0].what) == ec::bad_request);
  CHECK(counters.payloads_refused == 1);
}

namespace {

struct with_clock { // outlives the router
  core::cluster_clock clock;
};
struct clock_fixture : with_clock, fixture {};

} // namespace

TEST_CASE_FIXTURE(
    clock_fixture,
    "nodes tell each other the time, at once and again now and then, and believe most of them") {
  config.clock = &clock;
  start();
  const auto told = [&] {
    std::set<node_id> to;
    for (const auto& [peer, p] : std::exchange(peers.sent, {}))
      if (std::holds_alternative<core::clock_payload>(p))
        to.insert(peer);
    return to;
  };
  const std::set both{there, elsewhere};
  CHECK(told() == both);
  advance(config.announce_every + config.sweep_every);
  CHECK(told() == both);
  const auto in_an_hour = unix_ms{static_cast<std::int64_t>(clock.uncorrected()) + 3'600'000};
  from_peer(there, core::clock_payload{in_an_hour});
  CHECK(clock.difference_ms() == 0);
  from_peer(elsewhere, core::clock_payload{in_an_hour});
  CHECK(clock.difference_ms() > 3'500'000);
}

namespace {

struct with_room { // outlives the router
  std::atomic<bool> has_room{true}, drains{false};
};
struct room_fixture : with_room, fixture {};

} // namespace

TEST_CASE_FIXTURE(
    room_fixture,
    "nodes tell each other whether their disks have room and whether they drain: at once when that "
    "changes, when a session begins, and again now and then") {
  config.has_room = &has_room;
  config.drains = &drains;
  start();
  using room = core::room_payload;
  using news = std::vector<std::pair<node_id, room>>;
  const auto said = [&] {
    news out;
    for (const auto& [peer, p] : std::exchange(peers.sent, {}))
      if (const auto* r = std::get_if<room>(&p))
        out.emplace_back(peer, *r);
    return out;
  };
  const auto all = [](room what) { return news{{there, what}, {elsewhere, what}}; };
  CHECK(said() == all({1, 0}));
  has_room = false;
  advance(config.sweep_every);
  CHECK(said() == all({0, 0}));
  advance(config.sweep_every);
  CHECK(said().empty());
  advance(config.announce_every);
  CHECK(said() == all({0, 0}));
  meets(there);
  CHECK(said() == news{{there, {0, 0}}});
  has_room = true;
  meets(there); // which is told before the others are
  CHECK(said() == news{{there, {1, 0}}});
  advance(config.sweep_every);
  CHECK(said() == all({1, 0}));
  drains = true;
  advance(config.sweep_every);
  CHECK(said() == all({1, 1}));

  const auto full = [&] { return counters.cluster.read().full; };
  const auto draining = [&] { return counters.cluster.read().draining; };
  CHECK(full().empty());
  from_peer(there, room{0});
  CHECK(full() == std::set{there});
  CHECK(draining().empty());
  const auto before = counters.cluster.read().changed_at;
  advance(1s);
  from_peer(there, room{1, 1});
  CHECK(full().empty());
  CHECK(draining() == std::set{there});
  CHECK(counters.cluster.read().changed_at > before);
  from_peer(there, room{0, 1});
  CHECK(full() == std::set{there});
  caf::anon_send(it, peer_lost{there}); // and may be lost for good
  run();
  CHECK(full().empty());
  CHECK(draining().empty());
}

TEST_CASE_FIXTURE(
    fixture, "a shard's time without a leader goes on when that is lost in another way, and ends with one "
             "that can be reached") {
  start();
  const auto since = [&] { return counters.cluster.read().without_since.at(number(remote)); };
  leads(remote, there);
  CHECK_FALSE(since());
  caf::anon_send(it, peer_lost{there});
  run();
  const auto began = since();
  REQUIRE(began);
  advance(1s);
  leads(remote, node_id::none); // a replica here has noticed it
  CHECK(since() == began);
  advance(1s);
  leads(remote, elsewhere);
  CHECK_FALSE(since());
  leads(remote, there);
  REQUIRE(since());
  CHECK(*since() - *began >= 2s);
  caf::anon_send(it, peer_begun{there});
  run();
  CHECK_FALSE(since());
}
