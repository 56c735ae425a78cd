// What inboxes have of a conversation while the calls of its fan-out arrive in any order, twice or never.
#include <doctest/doctest.h>

#include "actors/core/debt_ledger.hpp"
#include "tests/cluster/machine/machine_fixture.hpp"

#include <random>

using namespace parley;
using namespace std::chrono_literals;
using test::machine_fixture;

namespace {

struct careless_network : machine_fixture {
  using call_out = core::debt_ledger::call_out;
  std::mt19937_64 rng;
  core::debt_ledger ledger{{.shards = 1, .debts_max = 10'000, .parts_max = 2}};
  core::debt_ledger::time_point now{};
  std::vector<call_out> under_way;
  std::uint64_t debts_read = 0, counter = 0;
  std::vector<user_id> authors; ///< of seq 1, 2, …
  std::map<user_id, std::uint64_t> reached;
  std::map<user_id, int> openings;

  explicit careless_network(unsigned seed) : rng{seed} {
    open();
    take_debts();
  }
  std::uint64_t pick(std::uint64_t n) { return rng() % n; }

  void say() {
    const auto from = pick(3) == 0 ? bob : alice;
    REQUIRE(send(from, from == alice ? alices : bobs, ++counter).error == ec::none);
    authors.push_back(from);
    take_debts();
  }
  void mark() {
    const auto upto = seq_no{pick(authors.size() + 1)};
    done(core::raise_watermarks{{{room, pick(2) ? alice : bob, upto, upto}}});
    take_debts();
  }
  void take_debts() {
    for (auto& row : debts(debts_read + 1)) {
      debts_read = row.number;
      REQUIRE(ledger.add(std::move(row), core::debt_ledger::source::stored));
    }
    ledger.loaded(debts_read);
  }
  void fan_out() {
    for (auto& c : ledger.send(now))
      under_way.push_back(std::move(c));
  }
  /// One of the calls arrives. It may arrive again, and its answer may be lost.
  void arrive() {
    if (under_way.empty())
      return;
    const auto i = under_way.begin() + static_cast<std::ptrdiff_t>(pick(under_way.size()));
    const auto c = *i;
    if (pick(4) != 0)
      under_way.erase(i);
    const auto outcome = apply(core::decode<core::command>(c.what.command).value());
    check_arrivals();
    if (pick(4) != 0)
      ledger.answered(c.number, ec::none, outcome, now, [&](auto conversation, auto after, auto upto) {
        return read([&](auto& v) {
          return cluster::queries::read_messages(v, conversation, after, upto, 3, 1 << 20);
        });
      });
  }
  /// What got no answer is sent again, and still arrives.
  void time_out() {
    now += 2s;
    ledger.expire(now - 1s);
  }

  /// No row skips a message of the other member, the first row of a stream neither.
  void check_arrivals() {
    for (const auto& a : news.arrivals)
      for (const auto& row : a.rows) {
        if (std::holds_alternative<core::opened_news>(row.what))
          ++openings[a.user];
        const auto* n = std::get_if<core::message_news>(&row.what);
        if (!n)
          continue;
        auto& last = reached[a.user];
        const auto seq = number(n->msg.seq);
        CHECK(seq > last);
        for (auto skipped = last + 1; skipped < seq; ++skipped)
          CHECK(authors.at(skipped - 1) == a.user);
        last = seq;
      }
  }
};

} // namespace

TEST_CASE("an inbox has each stream from its beginning on, in whatever order the calls of a fan-out arrive") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    careless_network net{seed};
    for (int i = 0; i < 60; ++i) {
      switch (net.pick(8)) {
      case 0:
        net.say();
        break;
      case 1:
        net.mark();
        break;
      case 2:
      case 3:
      case 4:
        net.fan_out();
        break;
      case 5:
      case 6:
        net.arrive();
        break;
      case 7:
        net.time_out();
        break;
      }
    }
    for (int i = 0; i < 1000 && !net.ledger.idle(); ++i) {
      net.time_out();
      net.fan_out();
      while (!net.under_way.empty())
        net.arrive();
    }
    CHECK(net.ledger.idle());
    for (const auto user : {machine_fixture::alice, machine_fixture::bob}) {
      CHECK(net.openings[user] == 1);
      for (auto missing = net.reached[user] + 1; missing <= net.authors.size(); ++missing)
        CHECK(net.authors[missing - 1] == user);
    }
  }
}
