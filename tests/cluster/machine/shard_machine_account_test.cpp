#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

#include <set>

using namespace parley;
using test::machine_fixture;

namespace {

const std::string phone = "+4917012345";

/// Code `n` with ticket `n`.
core::issue_code ask(std::uint8_t n, std::int64_t at) {
  return {phone, body_hash{n}, unix_ms{at}, unix_ms{at + 600'000}, body_hash{n}};
}
core::redeem_code guess(std::uint8_t code, std::uint64_t candidate, std::int64_t at, std::uint8_t key = 1,
                        std::uint8_t ticket = 1) {
  return {phone, body_hash{code}, user_id{candidate}, unix_ms{at}, body_hash{key}, body_hash{ticket}};
}

} // namespace

TEST_CASE_FIXTURE(machine_fixture, "a phone number that is empty, or too long for a key, is refused") {
  auto c = ask(1, 0);
  for (const auto& bad : {std::string{}, std::string(33, '1')}) {
    c.phone = bad;
    CHECK(done(c) == ec::bad_phone);
    auto g = guess(1, 5, 0);
    g.phone = bad;
    CHECK(std::get<core::redeemed>(apply(g)).error == ec::bad_phone);
    CHECK(read([&](auto& v) { return cluster::queries::find_phone(v, bad); }).error == ec::bad_phone);
  }
  CHECK(disk.rows(storage::table::state) == 0);
}

TEST_CASE_FIXTURE(machine_fixture,
                  "wrong codes are counted across a restart, and after too many the right one is refused") {
  CHECK(done(ask(1, 0)) == ec::none);
  for (int i = 0; i < 5; ++i) {
    restart();
    CHECK(std::get<core::redeemed>(apply(guess(2, 5, 1))).error ==
          (i < 4 ? ec::code_wrong : ec::code_expired));
  }
  CHECK(std::get<core::redeemed>(apply(guess(1, 5, 1))).error == ec::code_expired);
  CHECK(read([&](auto& v) { return cluster::queries::find_phone(v, phone); }).error == ec::no_such_user);
}

TEST_CASE_FIXTURE(machine_fixture, "codes are rate limited per phone") {
  CHECK(done(ask(1, 10'000)) == ec::none);
  const auto d = std::get<core::code_issued>(apply(ask(2, 10'100)));
  CHECK(d.error == ec::rate_limited);
  CHECK(d.retry_after_ms == 900);
}

TEST_CASE_FIXTURE(machine_fixture, "a code that was not sent gives its turn back, across a restart") {
  for (std::uint8_t n = 1; n <= 8; ++n) {
    CHECK(done(ask(n, n * 10'000)) == ec::none);
    restart();
    CHECK(done(core::settle_code{phone, body_hash{n}, body_hash{n}}) == ec::none);
    CHECK(std::get<core::redeemed>(apply(guess(n, 5, n * 10'000, 1, n))).error == ec::code_expired);
  }
  CHECK(done(core::settle_code{"+49170999", body_hash{1}}) ==
        ec::none); // a number that nobody has asked about
  CHECK(done(core::settle_code{std::string(33, '1'), body_hash{1}}) == ec::bad_phone);
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a code that is on its way is not sent again for its ticket, across a restart") {
  CHECK(done(ask(1, 10'000)) == ec::none);
  restart();
  CHECK(done(core::settle_code{phone, body_hash{1}, body_hash{1}, 1}) == ec::none);
  const auto before = disk.dump(storage::table::state);
  for (std::uint8_t n = 2; n < 20; ++n) {
    restart();
    auto c = ask(n, 10'000 + n);
    c.ticket = body_hash{1};
    const auto again = std::get<core::code_issued>(apply(c));
    CHECK(again.error == ec::none);
    CHECK(again.sent == 1);
  }
  CHECK(disk.dump(storage::table::state) == before); // nor does the shard's count of codes rise
  CHECK(std::get<core::redeemed>(apply(guess(1, 5, 11'000))).error == ec::none);
}

TEST_CASE(
    "a repeat is written to no row and not counted, whatever else of its number has expired meanwhile") {
  core::limits l;
  l.shard_codes_burst_max = 2;
  machine_fixture f{l};
  auto first = ask(1, 10'000), second = ask(2, 11'000);
  first.expires = unix_ms{11'500};
  CHECK(f.done(first) == ec::none);
  CHECK(f.done(second) == ec::none);
  const auto before = f.disk.dump(storage::table::state);
  second.at = unix_ms{11'600};
  CHECK(f.done(second) == ec::none); // the same code again, which may not have been sent
  CHECK(f.disk.dump(storage::table::state) == before);
  CHECK(f.done(core::settle_code{phone, body_hash{2}, body_hash{2}, 1}) == ec::none);
  const auto sent = f.disk.dump(storage::table::state);
  auto repeat = ask(3, 11'700);
  repeat.ticket = body_hash{2};
  CHECK(std::get<core::code_issued>(f.apply(repeat)).sent == 1);
  CHECK(f.disk.dump(storage::table::state) == sent);
}

TEST_CASE("a shard issues a bounded number of codes, whatever their numbers, and a retry is not counted") {
  core::limits l;
  l.shard_codes_burst_max = 3;
  machine_fixture f{l};
  for (std::uint8_t n = 1; n <= 5; ++n) {
    auto c = ask(n, 10'000);
    c.phone += std::to_string(n);
    const auto first = std::get<core::code_issued>(f.apply(c)),
               again = std::get<core::code_issued>(f.apply(c));
    CHECK(first.error == (n <= 3 ? ec::none : ec::rate_limited));
    CHECK(again.error == first.error);
    CHECK((first.error == ec::none || first.retry_after_ms > 0));
  }
  auto later = ask(9, 10'000 + 3'600'000);
  CHECK(f.done(later) == ec::none);
}

TEST_CASE(
    "numbers that never register are forgotten, by a bounded share of each command that issues a code") {
  constexpr std::int64_t day = 24 * 3'600'000;
  const core::limits l;
  machine_fixture f;
  const auto ask_for = [&](int n, std::int64_t at) {
    auto c = ask(1, at);
    c.phone = "+49170" + std::to_string(1'000'000 + n);
    CHECK(f.done(c) == ec::none);
    CHECK(f.rows_read <= l.numbers_looked_at_max + 6);
    return c.phone;
  };
  const auto rows = [&] { return f.disk.rows(storage::table::state); };
  for (int n = 0; n < 500; ++n)
    ask_for(n, n * 1000);
  CHECK(rows() == 500 + 1); // and the meter
  auto mine = guess(1, 5, 400'000);
  mine.phone = "+491701000200";
  REQUIRE(std::get<core::redeemed>(f.apply(mine)).error == ec::none);
  f.restart(); // how far the search has come is a row
  for (int n = 0; n < 100; ++n)
    ask_for(1000 + n, 3 * day + n * 1000);
  CHECK(rows() == 100 + 1 + 1); // and the number that has a user
  CHECK(f.read([&](auto& v) { return cluster::queries::find_phone(v, mine.phone); }).user == user_id{5});
  ask_for(7, 3 * day + 200'000); // a forgotten number is as any other
}

TEST_CASE_FIXTURE(machine_fixture,
                  "two replicas forget the same numbers, whenever one of them was restarted") {
  machine_fixture other;
  for (int n = 0; n < 300; ++n) {
    auto c = ask(1, n * 600'000);
    c.phone = "+49170" + std::to_string((n * 7919) % 100'000);
    if (n % 17 == 0)
      restart();
    CHECK(done(c) == other.done(c));
  }
  CHECK(disk.dump(storage::table::state) == other.disk.dump(storage::table::state));
  CHECK(disk.rows(storage::table::state) < 300);
}

TEST_CASE_FIXTURE(machine_fixture, "a phone belongs to the user who redeemed its first code") {
  done(ask(1, 0));
  auto r = std::get<core::redeemed>(apply(guess(1, 5, 1)));
  CHECK(r.error == ec::none);
  CHECK(r.user == user_id{5});
  CHECK(r.is_new == 1);
  restart();
  r = std::get<core::redeemed>(apply(guess(1, 6, 2))); // the answer was lost, another candidate comes
  CHECK(r.user == user_id{5});
  CHECK(r.is_new == 1);
  restart(); // which key used the code is a row, too
  CHECK(std::get<core::redeemed>(apply(guess(1, 6, 2, 2))).error == ec::code_expired);
  CHECK(read([&](auto& v) { return cluster::queries::find_phone(v, phone); }).user == user_id{5});
}

TEST_CASE_FIXTURE(machine_fixture, "a device's key never changes, and a ninth device is refused") {
  CHECK(done(device(alice, alices, 1)) == ec::none);
  const auto before = disk.dump(storage::table::state);
  CHECK(done(device(alice, alices, 1)) == ec::none);
  CHECK(done(device(alice, alices, 2)) == ec::conflict);
  CHECK(disk.dump(storage::table::state) == before);
  for (std::uint64_t d = 1; d < 8; ++d)
    CHECK(done(device(alice, device_id{1000 + d})) == ec::none);
  CHECK(done(device(alice, device_id{2000})) == ec::device_limit);
  CHECK(done(device(alice, alices, 1)) == ec::none); // known: still fine
  auto long_name = device(bob, bobs);
  long_name.device.name = std::string(65, 'n');
  CHECK(done(long_name) == ec::too_large);
  auto other_phone = device(alice, device_id{1001});
  other_phone.phone = "+4999";
  CHECK(done(other_phone) == ec::conflict);
}

TEST_CASE_FIXTURE(machine_fixture, "a device is found by its user, with the number of the user's devices") {
  CHECK(read([&](auto& v) { return cluster::queries::find_device(v, alice, alices); }).error ==
        ec::no_such_user);
  done(device(alice, alices, 7));
  done(device(alice, alices_tablet, 8));
  const auto found = read([&](auto& v) { return cluster::queries::find_device(v, alice, alices); });
  CHECK(found.error == ec::none);
  CHECK(found.device.key[0] == 7);
  CHECK(found.devices == 2);
  const auto other = read([&](auto& v) { return cluster::queries::find_device(v, alice, bobs); });
  CHECK(other.error == ec::no_such_user);
  CHECK(other.devices == 2); // there is such a user all the same
  CHECK(read([&](auto& v) { return cluster::queries::find_device(v, carol, bobs); }).devices == 0);
}

TEST_CASE_FIXTURE(
    machine_fixture,
    "the first device gets what arrived before it, and a later one what arrives from its registration on") {
  deliver(part(alice, 0, 2, {stored(0, 1, bob), stored(1, 2, bob)}));
  done(device(alice, alices));
  done(device(alice, alices_tablet));
  const auto at = [&](device_id d) {
    return read([&](auto& v) { return cluster::queries::read_attachment(v, alice, d); }).acknowledged;
  };
  CHECK(at(alices) == inbox_pos::none);
  CHECK(at(alices_tablet) == inbox_pos{3}); // behind the news of itself
  acknowledge(alice, alices, 1);
  CHECK(inbox(alice).rows.size() == 2);
}

TEST_CASE_FIXTURE(machine_fixture, "a user's other devices are told of a new one, and the new one is not") {
  auto phone_of_alice = device(alice, alices), tablet = device(alice, alices_tablet);
  done(phone_of_alice);
  CHECK(news.arrivals.empty()); // nobody else to tell
  CHECK(inbox(alice).rows.empty());
  tablet.device.name = "tablet";
  tablet.device.since = unix_ms{4000};
  done(tablet);
  const device_added row{alices_tablet, "tablet", unix_ms{4000}};
  REQUIRE(news.arrivals.size() == 1);
  REQUIRE(news.arrivals[0].rows.size() == 1);
  CHECK(news.arrivals[0].user == alice);
  CHECK(std::get<device_added>(news.arrivals[0].rows[0].what) == row);
  done(tablet); // the answer was lost: the device is known, and nobody is told twice
  CHECK(news.arrivals.empty());
  const auto rows = inbox(alice).rows;
  REQUIRE(rows.size() == 1);
  CHECK(std::get<device_added>(rows[0].what) == row);
  const auto attached =
      read([&](auto& v) { return cluster::queries::read_attachment(v, alice, alices_tablet); });
  CHECK(attached.acknowledged == rows[0].pos);
  acknowledge(alice, alices, number(rows[0].pos)); // the tablet has it already, so the row goes
  CHECK(inbox(alice).rows.empty());
}

TEST_CASE("a second device is told to a user's conversations in portions, whichever leader goes on") {
  core::limits l;
  l.copies_asked_max = 4;
  machine_fixture f{l};
  f.done(f.device(f.alice, f.alices));
  std::set<conversation_id> all;
  for (std::uint64_t n = 1; n <= 11; ++n) {
    const conversation_id c{n % 3, n};
    auto opening = f.part(f.alice, 0, 0, {});
    opening.conversation = c;
    opening.items = {core::opened_news{c, {f.alice, user_id{100 + n}}, unix_ms{1}}};
    f.deliver(opening);
    all.insert(c);
  }
  const auto due = [&] {
    return f.read([&](auto& v) { return cluster::queries::read_attachment(v, f.alice, f.alices); })
        .copies_due;
  };
  std::set<conversation_id> told;
  const auto tell = [&] {
    CHECK(f.news.debts.size() <= l.copies_asked_max);
    for (const auto& d : f.news.debts) {
      const auto& who = std::get<core::owed_copies>(d.what).who;
      CHECK(who.user == f.alice);
      CHECK(told.insert(who.conversation).second); // each once
    }
  };
  CHECK(due() == 0);
  f.done(f.device(f.alice, f.alices_tablet));
  tell();
  CHECK(due() == 1);
  std::size_t commands = 0;
  for (bool more = true; more; ++commands) {
    REQUIRE(commands < 10);
    const auto answer = std::get<core::copies_asked>(f.apply(core::ask_copies{f.alice}));
    CHECK(answer.error == ec::none);
    CHECK(f.rows_read <= l.copies_asked_max + 4);
    tell();
    more = answer.more != 0;
    CHECK(due() == answer.more);
  }
  CHECK(commands == 2);
  CHECK(told == all);
  CHECK(std::get<core::copies_asked>(f.apply(core::ask_copies{f.alice})).more == 0); // proposed twice
  CHECK(f.news.debts.empty());
  f.done(f.device(f.alice, device_id{103})); // the conversations know
  CHECK(f.news.debts.empty());
  CHECK(due() == 0);
  CHECK(std::get<core::copies_asked>(f.apply(core::ask_copies{f.bob})).error == ec::no_such_user);
}

TEST_CASE_FIXTURE(machine_fixture, "an append from a conversation brings no news of devices") {
  done(device(alice, alices));
  core::append_inbox c;
  c.parts.push_back({alice, room, 1, {}, seq_no{1}, {device_added{bobs, "not hers", unix_ms{1}}}});
  CHECK(std::get<core::inbox_outcomes>(apply(c)).parts.at(0).error == ec::bad_request);
  CHECK(inbox(alice).rows.empty());
}

TEST_CASE_FIXTURE(machine_fixture, "only the meta shard lists nodes, with the newest record of each") {
  core::put_node c{{node_id{2}, disk_id{7}, "a:1", "a:2"}};
  CHECK(done(c) == ec::bad_request);
  CHECK(done(core::put_node{{node_id::none, disk_id{7}, "a:1", "a:2"}}, core::meta_shard) == ec::bad_request);
  CHECK(done(c, core::meta_shard) == ec::none);
  c.node.disk = disk_id{8};
  CHECK(done(c, core::meta_shard) == ec::none);
  c.node.id = node_id{1};
  CHECK(done(c, core::meta_shard) == ec::none);
  auto txn = disk.begin_read();
  storage::shard_view view{*txn, core::meta_shard, 0};
  const auto list = cluster::queries::list_nodes(view);
  REQUIRE(list.nodes.size() == 2);
  CHECK(list.nodes[0].id == node_id{1});
  CHECK(list.nodes[1].disk == disk_id{8});
}
