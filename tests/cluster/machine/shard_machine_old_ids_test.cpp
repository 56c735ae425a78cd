// Ids that are older than a conversation remembers them, and the search for them.
#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

using namespace parley;
using namespace std::chrono_literals;
using test::machine_fixture;

namespace {

core::limits short_steps() {
  core::limits l;
  l.ids_looked_at_max = 16;
  return l;
}

struct fixture : machine_fixture {
  static constexpr device_id carols{301};
  const conversation_id other = core::direct_conversation(alice, carol);
  std::chrono::milliseconds now = 24h;
  std::uint64_t carols_counter = 0;

  explicit fixture(core::limits l = short_steps()) : machine_fixture{l} {
    open();
    REQUIRE(done(opening(alice, carol)) == ec::none);
  }
  core::placement send_now(user_id from, device_id device, std::uint64_t counter) {
    auto s = text(from, device, counter, "x");
    s.at = unix_ms{now.count()};
    return send(std::move(s));
  }
  /// Somebody writes elsewhere in the shard.
  void elsewhere() {
    auto s = text(carol, carols, ++carols_counter, "y");
    s.conversation = other;
    s.at = unix_ms{now.count()};
    REQUIRE(send(std::move(s)).error == ec::none);
  }
  void minutes_pass(int minutes) {
    for (int i = 0; i < minutes; ++i) {
      now += 1min;
      elsewhere();
    }
  }
  std::vector<std::pair<std::string, std::string>> state() {
    return read([](auto& v) {
      std::vector<std::pair<std::string, std::string>> all;
      v.ascend({}, {}, [&](std::string_view key, std::string_view value) {
        all.emplace_back(key, value);
        return storage::scan::more;
      });
      return all;
    });
  }
  std::size_t rows_of(device_id device) {
    std::size_t n = 0;
    for (const auto& [key, value] : state())
      if (key[0] == 'c')
        if (const auto whose = cluster::rows::parse_remembered_key(key); whose && whose->device == device)
          ++n;
    return n;
  }
};

} // namespace

TEST_CASE_FIXTURE(
    fixture, "an id that is older than eight weeks is forgotten, and a retry of it is not stored again") {
  for (std::uint64_t c = 1; c <= 40; ++c)
    send_now(alice, alices, c);
  now += 24h * 55;
  minutes_pass(10);
  CHECK(rows_of(alices) == 40);
  CHECK(send_now(alice, alices, 5).seq == seq_no{5}); // still a retry
  now += 24h * 2;
  minutes_pass(10);
  CHECK(rows_of(alices) == 0);
  CHECK(send_now(alice, alices, 5).error == ec::retry_too_old);
  CHECK(send_now(alice, alices, 40).error == ec::retry_too_old);
  CHECK(page(bob).last == seq_no{40});
  CHECK(send_now(alice, alices, 41).seq == seq_no{41});
  CHECK(send_now(alice, alices, 41).duplicate == 1);
  CHECK(rows_of(alices) == 1);
}

TEST_CASE_FIXTURE(fixture, "younger ids of the same device stay, and their retries get the first answer") {
  for (std::uint64_t c = 1; c <= 60; ++c) {
    if (c == 31)
      now += 24h * 20;
    send_now(alice, alices, c);
  }
  now += 24h * 40;
  minutes_pass(10);
  CHECK(rows_of(alices) == 30);
  CHECK(send_now(alice, alices, 30).error == ec::retry_too_old);
  for (std::uint64_t c = 31; c <= 60; ++c)
    CHECK(send_now(alice, alices, c).seq == seq_no{c});
  CHECK(page(bob).last == seq_no{60});
}

TEST_CASE_FIXTURE(fixture, "one command looks at a bounded number of rows, and only once in a while") {
  for (std::uint64_t c = 1; c <= 200; ++c)
    send_now(alice, alices, c);
  now += 24h * 60;
  elsewhere();
  const auto searched = rows_read;
  CHECK(rows_of(alices) >= 200 - short_steps().ids_looked_at_max);
  elsewhere();
  CHECK(rows_read + short_steps().ids_looked_at_max <= searched);
  CHECK(rows_read <= 10);
  CHECK(searched <= 10 + 2 * short_steps().ids_looked_at_max + 1);
}

TEST_CASE("replicas forget the same ids, also one that was started again in between") {
  fixture one{core::limits{}}, another{core::limits{}};
  const std::vector<std::pair<user_id, device_id>> senders{{machine_fixture::alice, machine_fixture::alices},
                                                           {machine_fixture::bob, machine_fixture::bobs}};
  for (auto* f : {&one, &another}) {
    for (std::uint64_t c = 1; c <= 200; ++c)
      for (const auto& [user, device] : senders)
        f->send_now(user, device, c);
    f->now += 24h * 57;
    for (int i = 0; i < 5; ++i) {
      if (f == &another)
        f->restart();
      f->minutes_pass(1);
    }
  }
  CHECK(one.rows_of(machine_fixture::alices) == 0);
  CHECK(one.rows_of(machine_fixture::bobs) == 0);
  CHECK(one.state() == another.state());
}

TEST_CASE_FIXTURE(
    fixture, "a clock that was a year ahead forgets a step's ids, and does not stop the search for a year") {
  for (std::uint64_t c = 1; c <= 40; ++c)
    send_now(alice, alices, c);
  const auto right = now;
  now += 24h * 365;
  elsewhere();
  now = right;
  CHECK(rows_of(alices) >= 40 - short_steps().ids_looked_at_max);
  now += 24h * 57;
  minutes_pass(10);
  CHECK(rows_of(alices) == 0);
}
