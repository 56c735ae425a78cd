#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

using namespace parley;
using test::machine_fixture;
namespace rows = cluster::rows;

namespace {

core::opened_news opened(conversation_id c) {
  return {c, {machine_fixture::alice, machine_fixture::bob}, unix_ms{1}};
}
std::vector<std::uint64_t> positions(const core::inbox_page& p) {
  std::vector<std::uint64_t> out;
  for (const auto& r : p.rows)
    out.push_back(number(r.pos));
  return out;
}

} // namespace

TEST_CASE_FIXTURE(machine_fixture, "an inbox refuses a gap and says what it has") {
  CHECK(deliver(part(bob, 0, 0, {opened(room)})).error == ec::none);
  CHECK(deliver(part(bob, 0, 1, {stored(0, 1)})).covered == seq_no{1});
  const auto before = disk.dump(storage::table::state);
  const auto o = deliver(part(bob, 2, 3, {stored(2, 3)}));
  CHECK(o.error == ec::gap);
  CHECK(o.covered == seq_no{1});
  CHECK(news.arrivals.empty());
  CHECK(disk.dump(storage::table::state) == before);
}

TEST_CASE_FIXTURE(machine_fixture, "a repeat is ignored, and of an overlap only the new part is added") {
  deliver(part(bob, 0, 0, {opened(room)}));
  deliver(part(bob, 0, 2, {stored(0, 1), stored(1, 2)}));
  const auto before = disk.dump(storage::table::state);
  CHECK(deliver(part(bob, 0, 0, {opened(room)})).error == ec::none);
  CHECK(deliver(part(bob, 0, 2, {stored(0, 1), stored(1, 2)})).covered == seq_no{2});
  CHECK(news.arrivals.empty());
  CHECK(disk.dump(storage::table::state) == before);
  CHECK(deliver(part(bob, 1, 4, {stored(1, 2), stored(2, 4)})).covered == seq_no{4});
  REQUIRE(news.arrivals.size() == 1);
  REQUIRE(news.arrivals[0].rows.size() == 1);
  CHECK(news.arrivals[0].user == bob);
  CHECK(news.arrivals[0].rows[0].pos == inbox_pos{4});
  CHECK(std::get<core::message_news>(news.arrivals[0].rows[0].what).msg.seq == seq_no{4});
  CHECK(positions(inbox(bob)) == std::vector<std::uint64_t>{1, 2, 3, 4});
}

TEST_CASE_FIXTURE(
    machine_fixture,
    "a part of an earlier membership is stale, and one of a higher membership starts a new stream") {
  deliver(part(bob, 4, 5, {stored(4, 5)}, 5));
  CHECK(deliver(part(bob, 5, 6, {stored(5, 6)}, 4)).error == ec::stale);
  CHECK(deliver(part(bob, 8, 9, {stored(8, 9)}, 9)).covered == seq_no{9});
  CHECK(deliver(part(bob, 5, 6, {stored(5, 6)}, 5)).error == ec::stale);
  CHECK(inbox(bob).rows.size() == 2);
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a part that contradicts itself is refused, and the parts beside it are applied") {
  const auto o = std::get<core::inbox_outcomes>(apply(core::append_inbox{{
      part(bob, 0, 1, {stored(0, 1)}),
      part(bob, 1, 2, {stored(1, 7)}),
      part(bob, 1, 2, {stored(1, 2)}),
      part(alice, 0, 2, {stored(0, 2, bob)}),
  }}));
  REQUIRE(o.parts.size() == 4);
  CHECK(o.parts[0].error == ec::none);
  CHECK(o.parts[1].error == ec::bad_request);
  CHECK(o.parts[2].error == ec::none);
  CHECK(o.parts[2].covered == seq_no{2});
  CHECK(o.parts[3].error == ec::none);
  CHECK(positions(inbox(bob)) == std::vector<std::uint64_t>{1, 2});
  CHECK(positions(inbox(alice)) == std::vector<std::uint64_t>{1});
  CHECK(news.arrivals.size() == 2);
}

TEST_CASE_FIXTURE(machine_fixture, "the row of a newer watermark replaces the row of the older one") {
  deliver(part(alice, 0, 0, {opened(room)}));
  const auto mark = [&](std::uint64_t delivered, std::uint64_t seen) {
    return deliver(part(alice, 0, 0, {core::watermark{room, bob, seq_no{delivered}, seq_no{seen}}}));
  };
  mark(1, 0);
  CHECK(positions(inbox(alice)) == std::vector<std::uint64_t>{1, 2});
  mark(1, 0);
  CHECK(news.arrivals.empty());
  mark(3, 2);
  CHECK(positions(inbox(alice)) == std::vector<std::uint64_t>{1, 3});
  mark(2, 1); // late
  CHECK(news.arrivals.empty());
  const auto rows = inbox(alice).rows;
  CHECK(std::get<core::watermark>(rows.at(1).what) == core::watermark{room, bob, seq_no{3}, seq_no{2}});
}

TEST_CASE_FIXTURE(machine_fixture, "watermarks of two people are separate rows") {
  deliver(part(carol, 0, 0,
               {core::watermark{room, alice, seq_no{1}, {}}, core::watermark{room, bob, seq_no{2}, {}}}));
  CHECK(inbox(carol).rows.size() == 2);
}

TEST_CASE_FIXTURE(machine_fixture, "a watermark behind a missing message waits for it") {
  deliver(part(alice, 0, 0, {opened(room)}));
  CHECK(deliver(part(alice, 2, 2, {core::watermark{room, bob, seq_no{1}, {}}})).error == ec::gap);
  CHECK(inbox(alice).rows.size() == 1);
}

TEST_CASE_FIXTURE(machine_fixture, "only a device of the user moves a cursor") {
  CHECK(acknowledge(bob, bobs, 1) == ec::no_such_user);
  done(device(bob, bobs));
  CHECK(acknowledge(bob, alices, 1) == ec::no_such_user);
}

TEST_CASE_FIXTURE(machine_fixture, "a cursor only rises and stops at the end") {
  done(device(bob, bobs));
  deliver(part(bob, 0, 3, {stored(0, 1), stored(1, 2), stored(2, 3)}));
  CHECK(acknowledge(bob, bobs, 2) == ec::none);
  CHECK(acknowledge(bob, bobs, 1) == ec::none);
  const auto state = [&] {
    return read([&](auto& v) { return cluster::queries::read_attachment(v, bob, bobs); });
  };
  CHECK(state().acknowledged == inbox_pos{2});
  CHECK(positions(inbox(bob, 2)) == std::vector<std::uint64_t>{3});
  CHECK(acknowledge(bob, bobs, UINT64_MAX) == ec::none);
  CHECK(state().acknowledged == inbox_pos{3});
  CHECK(state().last == inbox_pos{3});
  CHECK(state().devices == 1);
  CHECK(inbox(bob).rows.empty());
  deliver(part(bob, 3, 4, {stored(3, 4)}));
  CHECK(positions(inbox(bob)) == std::vector<std::uint64_t>{4});
}

TEST_CASE_FIXTURE(machine_fixture,
                  "what was acknowledged is owed to its conversation once, and own messages are not") {
  done(device(bob, bobs));
  deliver(part(bob, 0, 3, {stored(0, 1), stored(1, 2), stored(2, 3, bob)}));
  CHECK(acknowledge(bob, bobs, 3) == ec::none);
  REQUIRE(news.debts.size() == 1);
  CHECK(std::get<core::owed_watermark>(news.debts[0].what).mark == core::watermark{room, bob, seq_no{2}, {}});
  CHECK(acknowledge(bob, bobs, 3) == ec::none);
  CHECK(news.debts.empty());
  CHECK(debts().size() == 1);
}

TEST_CASE_FIXTURE(machine_fixture, "rows are kept until all devices have them, and only the first device's "
                                   "progress is owed to the conversation") {
  done(device(alice, alices));
  done(device(alice, alices_tablet)); // position 1 is the news of it
  deliver(part(alice, 0, 2, {stored(0, 1, bob), stored(1, 2, bob)}));
  acknowledge(alice, alices, 3);
  CHECK(news.debts.size() == 1);
  CHECK(positions(inbox(alice)) == std::vector<std::uint64_t>{2, 3});
  acknowledge(alice, alices_tablet, 2);
  CHECK(news.debts.empty());
  CHECK(positions(inbox(alice)) == std::vector<std::uint64_t>{3});
  acknowledge(alice, alices_tablet, 3);
  CHECK(inbox(alice).rows.empty());
}

namespace {

/// What the last command owes to conversations: how far the user has received each.
std::map<conversation_id, std::uint64_t> told(const cluster::shard_machine::results& news) {
  std::map<conversation_id, std::uint64_t> out;
  for (const auto& d : news.debts) {
    const auto& mark = std::get<core::owed_watermark>(d.what).mark;
    out[mark.conversation] = number(mark.delivered);
  }
  return out;
}

/// As a program wrote it that did not remember where devices began.
struct older_head {
  rows::inbox_head is;
  auto fields(auto&& f) { return f(is.last, is.dropped, is.devices, is.copies_next); }
};

} // namespace

TEST_CASE_FIXTURE(machine_fixture,
                  "what a later device never gets is told when the first one acknowledges it, and not "
                  "by the later one") {
  const auto other = core::direct_conversation(alice, carol);
  const auto from_carol = [&](std::uint64_t prev, std::uint64_t seq) {
    auto p = part(alice, prev, seq, {stored(prev, seq, carol)});
    p.conversation = other;
    std::get<core::message_news>(p.items[0]).msg.conversation = other;
    return p;
  };
  done(device(alice, alices));
  deliver(part(alice, 0, 2, {stored(0, 1, bob), stored(1, 2, bob)}));
  done(device(alice, alices_tablet)); // position 3 is the news of it
  deliver(from_carol(0, 1));
  acknowledge(alice, alices_tablet, 4);
  CHECK(told(news) == std::map<conversation_id, std::uint64_t>{{other, 1}});
  acknowledge(alice, alices, 1);
  CHECK(told(news) == std::map<conversation_id, std::uint64_t>{{room, 1}});
  acknowledge(alice, alices, 3);
  CHECK(told(news) == std::map<conversation_id, std::uint64_t>{{room, 2}});
  // From here on each device has what the other one has, so it is told once.
  deliver(from_carol(1, 2));
  acknowledge(alice, alices_tablet, 5);
  CHECK(told(news) == std::map<conversation_id, std::uint64_t>{{other, 2}});
  acknowledge(alice, alices, 5);
  CHECK(told(news).empty());
}

TEST_CASE_FIXTURE(machine_fixture,
                  "of three devices, what any of them could not tell is told by the one that gets it") {
  const device_id third{103};
  done(device(alice, alices));
  deliver(part(alice, 0, 1, {stored(0, 1, bob)}));
  done(device(alice, alices_tablet)); // position 2
  deliver(part(alice, 1, 2, {stored(1, 2, bob)}));
  done(device(alice, third)); // position 4
  deliver(part(alice, 2, 3, {stored(2, 3, bob)}));
  acknowledge(alice, third, 5);
  CHECK(told(news)[room] == 3);
  acknowledge(alice, alices_tablet, 3);
  CHECK(told(news)[room] == 2);
  acknowledge(alice, alices, 5);
  CHECK(told(news)[room] == 3); // again: nobody had told the first row
}

TEST_CASE_FIXTURE(machine_fixture,
                  "an inbox's head of an older program, which does not say where devices began, is read") {
  done(device(alice, alices));
  done(device(alice, alices_tablet));
  {
    auto txn = disk.begin_write();
    storage::shard_txn state{*txn, shard, 0};
    const auto key = rows::inbox_head_key(alice);
    auto now = rows::read_whole<rows::inbox_head>(state.get(key).value());
    REQUIRE(now.it);
    CHECK(now.it->begins.size() == 1);
    state.put(key, core::encode_for(core::format_number::oldest, older_head{*now.it}));
    REQUIRE(txn->commit() == ec::none);
  }
  deliver(part(alice, 0, 1, {stored(0, 1, bob)}));
  acknowledge(alice, alices_tablet, 2);
  CHECK(told(news)[room] == 1);
  acknowledge(alice, alices, 2);
  CHECK(told(news).empty());
  CHECK(inbox(alice).rows.empty());
}

TEST_CASE_FIXTURE(machine_fixture,
                  "the last page of an inbox reaches its end, also where the last rows are gone") {
  done(device(bob, bobs));
  for (std::uint64_t n = 1; n <= 3; ++n)
    deliver(part(bob, n - 1, n, {stored(n - 1, n)}));
  CHECK(inbox(bob, 0, 2).next == inbox_pos{2});
  CHECK(inbox(bob, 0, 2).more == 1);
  acknowledge(bob, bobs, 3);
  for (const std::uint64_t after : {0, 1, 3}) {
    CAPTURE(after);
    CHECK(inbox(bob, after).rows.empty());
    CHECK(inbox(bob, after).next == inbox_pos{3});
    CHECK(inbox(bob, after).more == 0);
  }
  deliver(part(bob, 3, 4, {stored(3, 4)}));
  CHECK(positions(inbox(bob)) == std::vector<std::uint64_t>{4});
  CHECK(inbox(alice).next == inbox_pos::none); // an inbox that never had a row
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a page for a session's stream is no larger than what any delivery queue takes") {
  for (std::uint64_t n = 1; n <= 6; ++n)
    deliver(part(bob, n - 1, n, {stored(n - 1, n, alice, std::string(60'000, 'x'))}));
  CHECK(positions(inbox(bob)) == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6});
  const auto streamed = [&](std::uint64_t after) {
    return read([&](auto& v) {
      return cluster::queries::read_inbox(v, {bob, bobs, inbox_pos{after}, 0, 1, {}});
    });
  };
  CHECK(positions(streamed(0)) == std::vector<std::uint64_t>{1, 2});
  CHECK(streamed(0).more == 1);
  CHECK(streamed(0).next == inbox_pos{2});
  CHECK(positions(streamed(4)) == std::vector<std::uint64_t>{5, 6});
  CHECK(streamed(4).more == 0);
}

TEST_CASE_FIXTURE(
    machine_fixture,
    "who asks from the first row on gets what arrived since their device was added, and no more") {
  done(device(alice, alices));
  deliver(part(alice, 0, 2, {stored(0, 1, bob), stored(1, 2, bob)}));
  done(device(alice, alices_tablet)); // position 3 is the news of it
  const auto from_the_first = [&](device_id d) {
    return read([&](auto& v) {
      return cluster::queries::read_inbox(v, {alice, d, inbox_pos::none, 0, 0, {}});
    });
  };
  CHECK(from_the_first(alices_tablet).rows.empty());
  CHECK(from_the_first(alices_tablet).next == inbox_pos{3});
  deliver(part(alice, 2, 3, {stored(2, 3, bob)}));
  CHECK(positions(from_the_first(alices_tablet)) == std::vector<std::uint64_t>{4});
  CHECK(positions(from_the_first(alices)) == std::vector<std::uint64_t>{1, 2, 3, 4});
}

TEST_CASE("one acknowledgement drops a bounded number of rows, and later ones drop the rest") {
  core::limits l;
  l.dropped_rows_max = 4;
  machine_fixture f{l};
  f.done(f.device(f.bob, f.bobs));
  for (std::uint64_t n = 1; n <= 12; ++n)
    f.deliver(f.part(f.bob, n - 1, n, {f.stored(n - 1, n)}));
  f.acknowledge(f.bob, f.bobs, 11);
  CHECK(positions(f.inbox(f.bob)) == std::vector<std::uint64_t>{5, 6, 7, 8, 9, 10, 11, 12});
  f.acknowledge(f.bob, f.bobs, 12);
  CHECK(positions(f.inbox(f.bob)) == std::vector<std::uint64_t>{9, 10, 11, 12});
  f.deliver(f.part(f.bob, 12, 13, {f.stored(12, 13)}));
  f.acknowledge(f.bob, f.bobs, 13);
  CHECK(positions(f.inbox(f.bob)) == std::vector<std::uint64_t>{13});
}

TEST_CASE(
    "one acknowledgement reads a bounded number of rows, its cursor stops there, and others reach the end") {
  core::limits l;
  l.acknowledged_rows_max = 4;
  machine_fixture f{l};
  f.done(f.device(f.bob, f.bobs));
  for (std::uint64_t n = 1; n <= 10; ++n)
    f.deliver(f.part(f.bob, n - 1, n, {f.stored(n - 1, n)}));
  const auto told = [&] {
    REQUIRE(f.news.debts.size() == 1);
    return number(std::get<core::owed_watermark>(f.news.debts[0].what).mark.delivered);
  };
  for (const std::uint64_t reached : {4, 8, 10}) {
    CHECK(f.advance(f.bob, f.bobs, UINT64_MAX).upto == inbox_pos{reached});
    CHECK(f.rows_read <= 4 + 3); // with the first that is too many, the inbox's head and the next debt
    CHECK(told() == reached);
    CHECK(f.inbox(f.bob).rows.size() == 10 - reached);
  }
  CHECK(f.advance(f.bob, f.bobs, UINT64_MAX).upto == inbox_pos{10});
  CHECK(f.news.debts.empty());
}

TEST_CASE("what a later device never gets is told in pieces, too, and then the cursor passes what that one "
          "has told") {
  core::limits l;
  l.acknowledged_rows_max = 4;
  machine_fixture f{l};
  f.done(f.device(f.alice, f.alices));
  for (std::uint64_t n = 1; n <= 10; ++n)
    f.deliver(f.part(f.alice, n - 1, n, {f.stored(n - 1, n, f.bob)}));
  f.done(f.device(f.alice, f.alices_tablet)); // position 11 is the news of it
  for (std::uint64_t n = 11; n <= 14; ++n)
    f.deliver(f.part(f.alice, n - 1, n, {f.stored(n - 1, n, f.bob)}));
  CHECK(f.advance(f.alice, f.alices_tablet, 15).upto == inbox_pos{15});
  for (const std::uint64_t reached : {4, 8}) {
    CHECK(f.advance(f.alice, f.alices, UINT64_MAX).upto == inbox_pos{reached});
    CHECK(told(f.news)[f.room] == reached);
  }
  CHECK(f.advance(f.alice, f.alices, UINT64_MAX).upto == inbox_pos{12});
  CHECK(told(f.news)[f.room] == 11);
  CHECK(f.advance(f.alice, f.alices, UINT64_MAX).upto == inbox_pos{15});
  CHECK(told(f.news).empty());
  CHECK(f.rows_read <= 2);
}

TEST_CASE("one acknowledgement reads a bounded number of bytes, but at least one row") {
  core::limits l;
  l.acknowledged_bytes_max = 2000;
  machine_fixture f{l};
  f.done(f.device(f.bob, f.bobs));
  for (std::uint64_t n = 1; n <= 5; ++n)
    f.deliver(f.part(f.bob, n - 1, n, {f.stored(n - 1, n, f.alice, std::string(n == 4 ? 5000 : 800, 'x'))}));
  for (const std::uint64_t reached : {2, 3, 4, 5})
    CHECK(f.advance(f.bob, f.bobs, 5).upto == inbox_pos{reached});
}

TEST_CASE(
    "rows that another device has acknowledged are not read again: the cursor passes all of them at once") {
  core::limits l;
  l.acknowledged_rows_max = 4;
  machine_fixture f{l};
  f.done(f.device(f.alice, f.alices));
  f.done(f.device(f.alice, f.alices_tablet));
  for (std::uint64_t n = 1; n <= 12; ++n)
    f.deliver(f.part(f.alice, n - 1, n, {f.stored(n - 1, n, f.bob)}));
  f.advance(f.alice, f.alices, 13);
  CHECK(f.advance(f.alice, f.alices, 13).upto == inbox_pos{8});
  CHECK(f.advance(f.alice, f.alices_tablet, 8).upto == inbox_pos{8});
  CHECK(f.rows_read <= 2);
}

TEST_CASE_FIXTURE(machine_fixture, "an inbox is read in pages, and a cursor beyond its end is refused") {
  CHECK(inbox(bob).rows.empty());
  CHECK(inbox(bob, 1).error == ec::bad_cursor);
  for (std::uint64_t n = 1; n <= 501; ++n)
    deliver(part(bob, n - 1, n, {stored(n - 1, n)}));
  CHECK(inbox(bob, 502).error == ec::bad_cursor);
  const auto first = inbox(bob, 0, UINT32_MAX);
  CHECK(first.rows.size() == 500);
  CHECK(first.more == 1);
  CHECK(first.next == inbox_pos{500});
  const auto last = inbox(bob, 500);
  CHECK(last.rows.size() == 1);
  CHECK(last.more == 0);
  CHECK(last.next == inbox_pos{501});
  CHECK(inbox(bob, 501).next == inbox_pos{501});
  CHECK(inbox(bob, 3, 2).next == inbox_pos{5});
}

TEST_CASE_FIXTURE(machine_fixture, "a user's conversations are listed in pages") {
  for (std::uint64_t u = 100; u < 105; ++u) {
    const auto c = core::direct_conversation(bob, user_id{u});
    core::inbox_append a{bob, c, 1, {}, {}, {core::opened_news{c, {bob, user_id{u}}, unix_ms{1}}}};
    deliver(a);
  }
  core::list_conversations ask{bob, {}, 2};
  std::size_t seen = 0;
  for (int i = 0; i < 3; ++i) {
    const auto list = read([&](auto& v) { return cluster::queries::list_conversations(v, ask); });
    CHECK(list.more == (i < 2));
    seen += list.items.size();
    for (const auto& item : list.items)
      CHECK(item.members.size() == 2);
    ask.after = list.items.back().conversation;
  }
  CHECK(seen == 5);
}
