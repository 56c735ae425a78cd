// What inboxes have of a conversation while the calls of its fan-out arrive in any order, twice or never.
#include <doctest/doctest.h>

#include "actors/core/debt_ledger.hpp"
#include "actors/core/rescue_numbers.hpp"
#include "tests/cluster/machine/machine_fixture.hpp"

#include <random>
#include <set>

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

namespace {

/// Conversations in one shard, and the inboxes of their members in another one. A copy of either shard's disk is all that
/// is left of it when it is rescued.
struct two_shards {
  static constexpr auto alice = machine_fixture::alice, bob = machine_fixture::bob;
  machine_fixture talks, inboxes;
  core::debt_ledger ledger{{.shards = 1}};
  core::debt_ledger::time_point now{};
  std::uint64_t counter = 0;

  two_shards() {
    REQUIRE(inboxes.done(inboxes.device(bob, machine_fixture::bobs)) == ec::none);
    talks.open();
  }
  seq_no say(const std::string& body) {
    const auto placed = talks.send(alice, machine_fixture::alices, ++counter, body);
    REQUIRE(placed.error == ec::none);
    return placed.seq;
  }
  /// Sends what is owed until nothing is.
  void pay() {
    ledger = core::debt_ledger{{.shards = 1}};
    const auto owed = talks.debts();
    for (const auto& debt : owed)
      REQUIRE(ledger.add(debt, core::debt_ledger::source::stored));
    ledger.loaded(owed.empty() ? 0 : owed.back().number);
    for (int i = 0; i < 100 && !ledger.idle(); ++i) {
      now += 2s;
      for (auto& c : ledger.send(now))
        ledger.answered(
            c.number, ec::none, inboxes.apply(core::decode<core::command>(c.what.command).value()), now,
            [&](auto conversation, auto after, auto upto) {
              return talks.read([&](auto& v) {
                return cluster::queries::read_messages(v, conversation, after, upto, 100, 1 << 20);
              });
            });
    }
    REQUIRE(ledger.idle());
  }
  static void rescue(machine_fixture& shard, const test::virtual_environment::copy_type& left) {
    shard.disk.put_back(left);
    shard.restart();
    REQUIRE(shard.done(core::count_rescue{1}) == ec::none);
  }
  std::vector<std::string> bodies(std::uint64_t after = 0) {
    std::vector<std::string> out;
    for (const auto& row : inboxes.inbox(bob, after).rows)
      if (const auto* m = std::get_if<core::message_news>(&row.what))
        out.emplace_back(m->msg.body.view());
    return out;
  }
  using texts = std::vector<std::string>;
};

constexpr seq_no first_after_rescue{core::numbers_per_rescue + 1};

} // namespace

TEST_CASE_FIXTURE(two_shards,
                  "what a rescued shard numbers next is news to inboxes that have what it has lost") {
  say("1");
  const auto left = talks.disk.copy();
  say("2, lost");
  say("3, lost");
  pay();
  rescue(talks, left);
  SUBCASE("of one device") {}
  SUBCASE("of several devices, of which nothing may be left out") {
    auto second = inboxes.device(bob, device_id{202}, 2);
    REQUIRE(inboxes.done(second) == ec::none);
  }
  CHECK(say("2") == first_after_rescue);
  CHECK(say("3") == next(first_after_rescue));
  pay();
  CHECK(bodies() == texts{"1", "2, lost", "3, lost", "2", "3"});
  talks.restart(); // the count is in its rows
  CHECK(say("4") == next(next(first_after_rescue)));
  rescue(talks, talks.disk.copy());
  CHECK(number(say("5")) == 2 * core::numbers_per_rescue + 1);
  pay();
  CHECK(bodies() == texts{"1", "2, lost", "3, lost", "2", "3", "4", "5"});
}

TEST_CASE_FIXTURE(two_shards,
                  "a second device gets what the first one sent before a rescue, of which it was not told") {
  say("1");
  pay();
  std::uint64_t own = 0;
  const auto bob_says = [&](const std::string& body) {
    return talks.send(bob, machine_fixture::bobs, ++own, body).seq;
  };
  bob_says("2, own");
  bob_says("3, own");
  pay();
  CHECK(bodies() == texts{"1"}); // there is one device, which knows them
  REQUIRE(inboxes.done(inboxes.device(bob, device_id{202}, 2)) == ec::none);
  rescue(talks, talks.disk.copy()); // before it heard of that
  SUBCASE("another member writes first") {
    CHECK(say("4") == first_after_rescue);
  }
  SUBCASE("its user writes first") {
    CHECK(bob_says("4") == first_after_rescue);
    say("5");
    pay();
    CHECK(bodies() == texts{"1", "2, own", "3, own", "4", "5"});
    return;
  }
  SUBCASE("its user writes first, and is to have copies then") {
    CHECK(bob_says("4") == first_after_rescue);
  }
  SUBCASE("it was rescued twice") {
    rescue(talks, talks.disk.copy());
    CHECK(number(say("4")) == 2 * core::numbers_per_rescue + 1);
  }
  REQUIRE(talks.done(core::want_copies{{{talks.room, bob}}}) == ec::none);
  pay();
  CHECK(bodies() == texts{"1", "2, own", "3, own", "4"});
}

TEST_CASE_FIXTURE(two_shards,
                  "an inbox that lacks messages from before a rescue and after it is filled with both") {
  say("1");
  pay();
  const auto older = inboxes.disk.copy();
  say("2");
  pay();
  rescue(talks, talks.disk.copy());
  say("3");
  pay();
  REQUIRE(talks.done(core::confirm_debts{1000}) == ec::none); // nobody owes these any more
  inboxes.disk.put_back(older);
  inboxes.restart();
  say("4");
  pay();
  CHECK(bodies() == texts{"1", "2", "3", "4"});
}

TEST_CASE_FIXTURE(two_shards,
                  "an inbox that was rescued puts new rows behind all that its devices may have seen") {
  say("1");
  pay();
  const auto left = inboxes.disk.copy();
  say("2");
  say("3");
  pay();
  const auto seen = number(inboxes.inbox(bob).rows.back().pos);
  rescue(inboxes, left);
  REQUIRE(talks.done(core::confirm_debts{1000}) == ec::none);
  say("4");
  pay();
  CHECK(bodies(seen) == texts{"2", "3", "4"}); // a device that has 2 and 3 knows them for repeats
}

TEST_CASE_FIXTURE(two_shards,
                  "what a rescued inbox had confirmed and lost is owed to it again without a new message") {
  const auto never_opened = inboxes.disk.copy();
  say("1");
  pay();
  const auto one = inboxes.disk.copy();
  say("2");
  say("3");
  pay();
  // Bob has got the messages and has read one. He is told what he has read, and not what he has got.
  const std::vector<core::watermark> marks{{talks.room, bob, seq_no{1}, seq_no{1}},
                                           {talks.room, bob, seq_no{3}, seq_no{1}},
                                           {talks.room, alice, seq_no{2}, {}}};
  for (const auto& mark : marks)
    REQUIRE(talks.done(core::raise_watermarks{{mark}}) == ec::none);
  pay();
  REQUIRE(talks.done(core::confirm_debts{1000}) == ec::none);
  std::optional<inbox_pos> end; // of an inbox that lacks nothing, and so gets nothing
  SUBCASE("the conversation as well") {
    rescue(inboxes, never_opened);
  }
  SUBCASE("some messages") {
    rescue(inboxes, one);
  }
  SUBCASE("nothing") {
    rescue(inboxes, inboxes.disk.copy());
    end = inboxes.inbox(bob).rows.back().pos;
  }
  const core::renew_streams renew{shard_id{0}, 1, 1}; // of one shard, which all users are in
  CHECK(std::get<core::streams_renewed>(talks.apply(renew)).more == 0);
  pay();
  CHECK(bodies() == texts{"1", "2", "3"});
  std::size_t openings = 0;
  for (const auto& row : inboxes.inbox(bob).rows)
    openings += std::holds_alternative<core::opened_news>(row.what);
  CHECK(openings == 1);
  if (end)
    CHECK(inboxes.inbox(bob).rows.back().pos == *end);
  core::progress alices;
  for (const auto& row : inboxes.inbox(bob).rows)
    if (const auto* w = std::get_if<core::watermark>(&row.what); w && w->user == alice)
      alices = {w->delivered, w->read};
  CHECK(alices == core::progress{seq_no{2}, {}});
  REQUIRE(talks.done(core::confirm_debts{1000}) == ec::none);
  CHECK(std::get<core::streams_renewed>(talks.apply(renew)).more == 0); // an answer was lost
  CHECK(talks.debts().empty());
  talks.apply(core::renew_streams{shard_id{0}, 2, 1});
  CHECK_FALSE(talks.debts().empty()); // another rescue
}

TEST_CASE(
    "after the rescue of another shard one command looks at a bounded number of conversations, and all are") {
  core::limits l;
  l.renewed_max = 4;
  machine_fixture f{l};
  for (std::uint64_t n = 1; n <= 10; ++n)
    REQUIRE(f.done(f.opening(machine_fixture::alice, user_id{100 + n})) == ec::none);
  REQUIRE(f.done(core::confirm_debts{1000}) == ec::none);
  std::set<conversation_id> opened;
  for (int commands = 1; commands <= 3; ++commands) {
    const auto more = std::get<core::streams_renewed>(f.apply(core::renew_streams{shard_id{0}, 1, 1})).more;
    CHECK(more == (commands < 3));
    CHECK(f.rows_read <= 40);
  }
  for (const auto& debt : f.debts())
    if (const auto* o = std::get_if<core::owed_opening>(&debt.what)) {
      CHECK(opened.insert(o->what.conversation).second);
      CHECK(o->to.size() == 2);
    }
  CHECK(opened.size() == 10);
}

TEST_CASE(
    "what is owed again because of a rescue is bounded, and goes on when the rescued shard has taken it") {
  core::limits l;
  l.renewed_max = 1;
  l.renewed_ahead_max = 2;
  machine_fixture f{l};
  for (std::uint64_t n = 1; n <= 5; ++n)
    REQUIRE(f.done(f.opening(machine_fixture::alice, user_id{100 + n})) == ec::none);
  REQUIRE(f.done(core::confirm_debts{1000}) == ec::none);
  const auto renew = [&] {
    return std::get<core::streams_renewed>(f.apply(core::renew_streams{shard_id{0}, 1, 1})).more;
  };
  using renewed = core::streams_renewed;
  for (int command = 1; command <= 5; ++command) {
    if (command == 3 || command == 5) {
      const auto last = f.debts().back().number;
      const auto owed = f.debts().size();
      CHECK(renew() == renewed::later);
      CHECK(f.debts().size() == owed);
      REQUIRE(f.done(core::confirm_debts{last - 1}) == ec::none);
      CHECK(renew() == renewed::later);                   // the last one is on its way
      REQUIRE(f.done(core::count_rescue{2}) == ec::none); // what waits for other shards does not hold it up
      REQUIRE(f.done(core::confirm_debts{last}) == ec::none);
    }
    CHECK(renew() == (command < 5 ? renewed::at_once : renewed::nothing));
  }
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a rescued shard has all others owe its inboxes again what they may have lost") {
  REQUIRE(done(core::count_rescue{5}) == ec::none);
  std::set<shard_id> asked;
  for (const auto& debt : debts()) {
    const auto& owed = std::get<core::owed_renewal>(debt.what);
    CHECK(owed.of == shard);
    CHECK(owed.rescues == 1);
    CHECK(owed.shards == 5);
    asked.insert(owed.to);
  }
  CHECK(asked == std::set{shard_id{0}, shard_id{1}, shard_id{2}, shard_id{4}});
}

TEST_CASE_FIXTURE(two_shards,
                  "a page of a conversation goes on over a rescue, also behind a message that was lost") {
  say("1");
  const auto left = talks.disk.copy();
  say("2, lost");
  rescue(talks, left);
  say("2");
  const auto seqs = [&](std::uint64_t after) {
    std::vector<seq_no> out;
    const auto page = talks.page(bob, after);
    CHECK(page.error == ec::none);
    for (const auto& m : page.messages)
      out.push_back(m.seq);
    return out;
  };
  CHECK(seqs(0) == std::vector{seq_no{1}, first_after_rescue});
  CHECK(seqs(1) == std::vector{first_after_rescue});
  CHECK(seqs(2) == std::vector{first_after_rescue});
  CHECK(seqs(number(first_after_rescue)).empty());
}
