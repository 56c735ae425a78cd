// A user's second device: whatever the first sends from then on reaches it, whoever knew of it when.
#include <doctest/doctest.h>

#include "actors/core/debt_ledger.hpp"
#include "tests/cluster/machine/machine_fixture.hpp"

#include <random>

using namespace parley;
using test::machine_fixture;

namespace {

struct fixture : machine_fixture {
  core::debt_ledger ledger{{.shards = 1, .debts_max = 10'000, .parts_max = 100}};
  std::uint64_t read_upto = 0;
  std::uint64_t counter = 0;
  std::size_t log_rows_max = 100;

  /// What the fan-out does until nothing is owed any more.
  void settle() {
    for (int round = 0; round < 100; ++round) {
      for (auto& row : debts(read_upto + 1)) {
        read_upto = row.number;
        REQUIRE(ledger.add(std::move(row), core::debt_ledger::source::stored));
      }
      ledger.loaded(read_upto);
      const auto now = core::debt_ledger::time_point{} + round * std::chrono::milliseconds{50};
      const auto calls = ledger.send(now);
      if (calls.empty() && ledger.idle())
        return;
      for (const auto& c : calls)
        ledger.answered(c.number, ec::none, apply(core::decode<core::command>(c.what.command).value()), now,
                        [&](auto room, auto after, auto upto) {
                          return read([&](auto& v) {
                            return cluster::queries::read_messages(v, room, after, upto, log_rows_max,
                                                                   1 << 20);
                          });
                        });
    }
    FAIL("there is no end to it");
  }
  /// The same, with what applying hands out at once: nothing is read from the stored debts.
  void settle_live() {
    for (int round = 0; round < 100; ++round) {
      for (auto& row : std::exchange(news.debts, {}))
        REQUIRE(ledger.add(std::move(row), core::debt_ledger::source::live));
      const auto now = core::debt_ledger::time_point{} + round * std::chrono::milliseconds{50};
      const auto calls = ledger.send(now);
      if (calls.empty() && ledger.idle())
        return;
      for (const auto& c : calls) {
        auto live = std::move(news.debts);
        ledger.answered(c.number, ec::none, apply(core::decode<core::command>(c.what.command).value()), now,
                        [&](auto room, auto after, auto upto) {
                          return read([&](auto& v) {
                            return cluster::queries::read_messages(v, room, after, upto, log_rows_max,
                                                                   1 << 20);
                          });
                        });
        news.debts.insert(news.debts.begin(), std::make_move_iterator(live.begin()),
                          std::make_move_iterator(live.end()));
      }
    }
    FAIL("there is no end to it");
  }
  void say(user_id from) { send(from, from == alice ? alices : bobs, ++counter); }
  struct heard {
    std::uint64_t prev = 0, seq = 0;
    bool operator==(const heard&) const = default;
  };
  std::vector<heard> heard_by(user_id u, inbox_pos after = inbox_pos::none) {
    std::vector<heard> out;
    for (const auto& row : inbox(u, number(after)).rows)
      if (const auto* m = std::get_if<core::message_news>(&row.what))
        out.push_back({number(m->prev), number(m->msg.seq)});
    return out;
  }
  inbox_pos tablet_starts_at() {
    return read([&](auto& v) { return cluster::queries::read_attachment(v, alice, alices_tablet); })
        .acknowledged;
  }
  void two_people() {
    done(device(alice, alices));
    done(device(bob, bobs));
    open();
    settle();
  }
};

} // namespace

TEST_CASE_FIXTURE(
    fixture, "a new device gets a message that was sent before the sender's session knew of the device") {
  two_people();
  say(alice);
  settle();
  CHECK(heard_by(alice).empty());
  done(device(alice, alices_tablet));
  say(alice); // the conversation has not heard of the tablet either
  settle();
  CHECK(heard_by(alice, tablet_starts_at()) == std::vector<heard>{{0, 1}, {1, 2}});
}

TEST_CASE_FIXTURE(fixture,
                  "the debts that make up for it need no bodies: the inbox asks, and the log has them") {
  two_people();
  say(alice);
  settle();
  done(device(alice, alices_tablet));
  settle_live();
  CHECK(heard_by(alice) == std::vector<heard>{{0, 1}});
  say(bob);
  settle_live();
  say(alice);
  settle_live();
  CHECK(heard_by(alice) == std::vector<heard>{{0, 1}, {1, 2}, {2, 3}});
}

TEST_CASE_FIXTURE(fixture, "a message from before the session knew of the device is not lost behind another "
                           "member's that follows it") {
  two_people();
  say(bob);
  settle();
  done(device(alice, alices_tablet));
  say(alice);
  say(bob);
  say(alice);
  restart(); // what is owed survives
  settle();
  CHECK(heard_by(alice, tablet_starts_at()) == std::vector<heard>{{1, 2}, {2, 3}, {3, 4}});
}

TEST_CASE_FIXTURE(fixture, "a conversation that is opened later soon knows of both devices") {
  done(device(bob, bobs));
  done(device(alice, alices));
  done(device(alice, alices_tablet));
  open();
  say(alice);
  settle();
  say(alice);
  settle();
  CHECK(heard_by(alice) == std::vector<heard>{{0, 1}, {1, 2}});
  CHECK(heard_by(bob) == std::vector<heard>{{0, 1}, {1, 2}});
}

TEST_CASE_FIXTURE(fixture, "a new device is sent any number of its user's own earlier messages, in pieces") {
  two_people();
  log_rows_max = 3;
  for (int i = 0; i < 20; ++i)
    say(alice);
  settle();
  done(device(alice, alices_tablet));
  settle();
  const auto all = heard_by(alice);
  REQUIRE(all.size() == 20);
  for (std::uint64_t i = 0; i < 20; ++i)
    CHECK(all[i] == heard{i, i + 1});
}

TEST_CASE_FIXTURE(fixture, "a user with one device gets no copies, and the append says what it leaves out") {
  two_people();
  say(alice);
  say(bob);
  settle();
  CHECK(heard_by(alice) == std::vector<heard>{{0, 2}});
}

TEST_CASE(
    "whenever the second device registers, it gets every later message, each naming the one before it") {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    std::mt19937 rng{seed};
    fixture f;
    f.two_people();
    std::uint64_t said = 0;
    const auto some = [&] {
      for (auto n = rng() % 6; n > 0; --n, ++said) {
        f.say(rng() % 2 ? f.alice : f.bob);
        if (rng() % 3 == 0)
          f.settle();
      }
    };
    some();
    f.done(f.device(f.alice, f.alices_tablet));
    const auto before = said;
    some();
    some();
    f.settle();
    const auto all = f.heard_by(f.alice, f.tablet_starts_at());
    auto expected = before + 1;
    for (const auto& h : all) {
      if (h.seq <= before) // what it is told of earlier times is a gift
        continue;
      CHECK(h.seq == expected);
      CHECK(h.prev + 1 == h.seq);
      ++expected;
    }
    CHECK(expected == said + 1);
  }
}
