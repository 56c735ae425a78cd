#pragma once
// An inbox between a recording store, router and shard.
#include "actors/resident.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <set>

namespace parley::test {

using namespace std::chrono_literals;

/// A connection that announces itself.
struct visitor {
  core::connection_ref ref;
  session_number session{};
};
inline const visitor first{{node_id{1}, 1, 9}, session_number{7}},
    second{{node_id{2}, 1, 8}, session_number{8}}, third{{node_id{1}, 2, 9}, session_number{11}};

struct inbox_fixture : actor_fixture {
  const user_id alice{1};
  const device_id phone{10};
  fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  resident_config config;
  std::shared_ptr<int> idles = std::make_shared<int>(0);
  inbox_actor it = spawn();
  ~inbox_fixture() { caf::anon_send_exit(it, caf::exit_reason::user_shutdown); }

  inbox_actor spawn() {
    return spawn_inbox(sys, {shard_id{1},
                             core::format_number::newest,
                             {resident_kind::inbox, 0, 1},
                             7,
                             config,
                             &reader,
                             store.handle,
                             router.handle,
                             make_silent_shard(idles)});
  }
  /// As on another node after a failover: what was in memory only is gone.
  void restart() {
    caf::anon_send_exit(it, caf::exit_reason::user_shutdown);
    run();
    it = spawn();
    router.deliveries.take();
  }

  void read_all() {
    for (const auto& r : store.reads.take())
      store.answer(r);
    run();
  }
  core::answer ask(core::call what) {
    call(it, asker.handle, 1, std::move(what));
    run();
    read_all();
    auto answers = asker.answers.take();
    REQUIRE(answers.size() == 1);
    return std::move(answers[0].what);
  }
  core::answer pull(const visitor& v, inbox_pos after = inbox_pos::none) {
    return ask(core::call{core::pull_inbox{alice, phone, after, 100, 1, v.ref, v.session}});
  }
  core::answer attach(const visitor& v) {
    return ask(core::call{core::attach{alice, phone, v.ref, v.session}});
  }
  /// The device has read up to `pos`.
  void acknowledge(std::uint64_t pos) {
    call(it, asker.handle, 1, core::call{core::acknowledge{alice, phone, inbox_pos{pos}}});
    run();
    asker.answers.take();
  }
  /// The positions that were proposed since the last look. All proposals are answered with `error`, or with a
  /// cursor that does not pass `passes_to`.
  std::vector<std::uint64_t> cursors(ec error = ec::none, inbox_pos passes_to = inbox_pos{UINT64_MAX}) {
    std::vector<std::uint64_t> out;
    for (const auto& p : store.proposals.take()) {
      const auto written = core::decode<core::command>(p.command);
      REQUIRE(written);
      out.push_back(number(std::get<core::advance_cursor>(*written).upto));
      if (error == ec::none)
        store.answer(p, core::advanced{ec::none, std::min(inbox_pos{out.back()}, passes_to)});
      else
        store.refuse(p, error);
    }
    run();
    return out;
  }
  void arrive(std::uint64_t pos) {
    inbox_arrival a;
    a.rows.push_back({inbox_pos{pos}, core::message_news{}});
    caf::anon_send(it, std::move(a));
    run();
  }
};

} // namespace parley::test
