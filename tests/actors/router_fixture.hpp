#pragma once
// A router between recording peers, a shard and sessions.
#include "actors/core/peer_payload.hpp"
#include "actors/router.hpp"
#include "tests/support/actor_fixture.hpp"

#include <doctest/doctest.h>

#include <set>

namespace parley::test {

using namespace std::chrono_literals;

struct recording_peers final : peer_port {
  bool reachable = true;
  std::vector<std::pair<node_id, core::peer_payload>> sent;
  std::size_t bytes_max = ~std::size_t{0}; ///< of a payload; a larger one is not taken
  std::size_t refused = 0;                 ///< payloads
  std::size_t largest = 0;                 ///< payload that was sent
  bool send(node_id to, std::string payload) override {
    if (!reachable || payload.size() > bytes_max) {
      ++refused;
      return false;
    }
    largest = std::max(largest, payload.size());
    auto p = core::decode<core::peer_payload>(payload);
    REQUIRE(p);
    sent.emplace_back(to, std::move(*p));
    return true;
  }
  /// All of one kind that were sent since the last look, whoever to.
  template <class Payload>
  auto take() {
    decltype(Payload::items) out;
    for (auto& [to, p] : std::exchange(sent, {}))
      if (auto* it = std::get_if<Payload>(&p))
        std::move(it->items.begin(), it->items.end(), std::back_inserter(out));
    return out;
  }
};

inline const node_id here{1}, there{2}, elsewhere{3};
inline const shard_id local{0}, remote{1};

struct router_fixture : actor_fixture {
  recording_peers peers;
  router_counters counters;
  refused_calls refused;
  router_config config;
  wired_router_actor it;
  sink asker = make_sink();
  heard<routed_call> at_shard;  ///< of `local`
  heard<std::uint64_t> rehomed; ///< the numbers of sessions
  heard<delivery> deliveries;   ///< to all sessions

  ~router_fixture() {
    if (it)
      caf::anon_send_exit(it, caf::exit_reason::user_shutdown);
  }
  void start() {
    config.node = here;
    config.process = 9;
    config.counters = &counters;
    config.refused = &refused;
    config.shards = 4;
    it = spawn_router(sys, config);
    router_wiring w;
    w.peers = &peers;
    w.shards.emplace(0, sys.spawn([all = at_shard.all](shard_actor::pointer) -> shard_actor::behavior_type {
      return {
          [all](call_batch& b) {
            for (auto& c : b.calls)
              all->push_back(std::move(c));
          },
          [](const core::leadership&) {},
          [](shard_effects&) {},
          [](result_batch&) {},
          [](const resident_idle&) {},
      };
    }));
    caf::anon_send(it, std::move(w));
    for (auto peer : {there, elsewhere})
      caf::anon_send(it, peer_begun{peer});
    run();
  }
  /// News of a replica here.
  void leads(shard_id s, node_id who, bool ready = true, bool takes_part = true) {
    leadership_news n;
    n.changes.push_back({s, generation{1}, 1, who, ready && who == here, takes_part});
    caf::anon_send(it, std::move(n));
    run();
  }
  /// The replica here halts, or is gone; `knew` led when it did.
  void halts(shard_id s, node_id knew) { leads(s, knew, false, false); }
  /// Where a call for the shard is sent; `none`: it waits here.
  node_id way_of(shard_id s) {
    peers.sent.clear();
    ask(99, s);
    return peers.sent.empty() ? node_id::none : peers.sent.at(0).first;
  }
  /// To whom this node said since the last look that it leads `s`.
  std::vector<node_id> told_of(shard_id s) {
    std::vector<node_id> told;
    for (const auto& [to, p] : std::exchange(peers.sent, {}))
      if (const auto* l = std::get_if<core::leads_payload>(&p); l && l->shards == std::vector{s})
        told.push_back(to);
    return told;
  }
  /// A session here, of a user whose shard is `s`.
  void connect(std::uint64_t number, shard_id s) {
    std::uint64_t user = number * 1000;
    while (home_shard(user_id{user}, config.shards) != s)
      ++user;
    const auto session = sys.spawn([all = rehomed.all, got = deliveries.all,
                                    number](session_actor::pointer) -> session_actor::behavior_type {
      return {
          [](call_batch&) {},
          [](answer_batch&) {},
          [got](delivery_batch& b) {
            for (auto& d : b.deliveries)
              got->push_back(std::move(d));
          },
          [](const start_streaming&) {},
          [](atom::took) {},
          [all, number](atom::rehome) { all->push_back(number); },
          [](atom::sweep) {},
          [](atom::stop) {},
      };
    });
    caf::anon_send(it, session_here{number, user_id{user}, session});
    run();
  }
  void meets(node_id peer) {
    caf::anon_send(it, peer_lost{peer});
    caf::anon_send(it, peer_begun{peer});
    run();
  }
  void ask(std::uint64_t number, shard_id s) {
    ask(number, core::make_propose(s, core::format_number::newest, core::confirm_debts{7}));
  }
  void ask(std::uint64_t number, core::propose what) {
    call_batch b;
    b.calls.push_back({number, asker.handle, std::move(what)});
    caf::anon_send(it, std::move(b));
    run();
  }
  template <class Payload>
  void from_peer(node_id peer, Payload p) {
    peer_payloads b;
    b.from = peer;
    b.payloads.push_back(core::encode(core::peer_payload{std::move(p)}));
    caf::anon_send(it, std::move(b));
    run();
  }
  void from_peer_bytes(node_id peer, std::string bytes) {
    peer_payloads b;
    b.from = peer;
    b.payloads.push_back(std::move(bytes));
    caf::anon_send(it, std::move(b));
    run();
  }
  /// `n` rows of `bytes` each for a session at `there`, one delivery a row.
  void deliver(std::size_t n, std::size_t bytes) {
    delivery_batch b;
    for (std::uint64_t i = 0; i < n; ++i) {
      core::message m;
      m.body = std::string(bytes, 'x');
      b.deliveries.push_back(
          {{there, 5, 77}, inbox_pos{i}, {{inbox_pos{i + 1}, core::message_news{{}, m}}}, ec::none, {}});
    }
    caf::anon_send(it, std::move(b));
    run();
  }
  void peer_asks(node_id peer, std::uint64_t number, shard_id s) {
    from_peer(peer, core::calls_payload{{{number, core::make_propose(s, core::format_number::newest,
                                                                     core::confirm_debts{7})}}});
  }
  void peer_answers(node_id peer, std::uint64_t number, ec error = ec::none) {
    from_peer(peer, core::answers_payload{{{number, core::answer_to<core::propose>{{error, {}}}}}});
  }
  void wait(std::chrono::milliseconds time) {
    for (auto waited = 0ms; waited < time; waited += 100ms)
      advance(100ms);
  }
  /// The one answer since the last look: what it says.
  ec told(std::uint64_t number) {
    const auto all = asker.answers.take();
    REQUIRE(all.size() == 1);
    CHECK(all[0].number == number);
    return core::error_of(all[0].what);
  }
};

} // namespace parley::test
