#include "tests/cluster/links/link_fixture.hpp"

#include <doctest/doctest.h>

#include <deque>

using namespace parley;
using namespace parley::test;

namespace {

constexpr node_id one{1}, two{2};

/// The starts of one disk, as its node makes them. A copy of the value is a copy of the directory.
struct directory {
  std::uint64_t disk = 7;
  node_start last{disk, 0, {}};
  static inline std::uint64_t words = 0;

  node_start start() {
    last.disk = disk;
    ++last.number;
    last.words.push_back(++words);
    return last;
  }
};

/// Takes the start if it fits.
start_verdict meet(seen_node& seen, const node_start& s) {
  const auto v = judge(seen, s);
  if (v == start_verdict::fits)
    note(seen, s);
  return v;
}

/// A book whose disk takes its time.
struct slow_book {
  std::vector<start_book::row> rows;
  std::deque<std::function<void()>> syncs;
  start_book book{{}};
  std::vector<start_verdict> judged;

  slow_book() {
    book.kept_by([this](start_book::row r, std::function<void()> durable) {
      rows.push_back(std::move(r));
      syncs.push_back(std::move(durable));
    });
  }
  void judge(const node_start& s) {
    book.judge(two, s, [this](start_verdict v) { judged.push_back(v); });
  }
  void sync() {
    auto durable = std::move(syncs.front());
    syncs.pop_front();
    durable();
  }
};

std::shared_ptr<start_book> quick_book() {
  auto book = std::make_shared<start_book>(std::vector<start_book::row>{});
  book->kept_by([](start_book::row, std::function<void()> durable) { durable(); });
  return book;
}

test_node started(std::uint64_t node, const node_start& s, std::shared_ptr<start_book> book) {
  auto c = test_links(node);
  c.start = s;
  c.book = std::move(book);
  return test_node{std::move(c)};
}

} // namespace

TEST_CASE("a node that is started again and again is the one that was seen before") {
  seen_node seen;
  directory d;
  for (int i = 0; i < 5; ++i)
    CHECK(meet(seen, d.start()) == start_verdict::fits);
  d.start(); // two that this peer did not see
  d.start();
  const auto s = d.start();
  CHECK(meet(seen, s) == start_verdict::fits);
  CHECK(meet(seen, s) == start_verdict::fits); // its link was lost
}

TEST_CASE("an older copy is recognised by its number, by its word, and however often it is started") {
  seen_node seen;
  directory d;
  meet(seen, d.start());
  auto older = d;
  auto oldest = older;
  meet(seen, d.start());
  CHECK(meet(seen, older.start()) == start_verdict::other);
  meet(seen, d.start());
  CHECK(meet(seen, oldest.start()) == start_verdict::older);
  CHECK(meet(seen, older.start()) == start_verdict::other);
  for (int i = 0; i < 10; ++i)
    CHECK(meet(seen, older.start()) == start_verdict::other); // its number is higher by now
  CHECK(meet(seen, d.start()) == start_verdict::fits);
}

TEST_CASE("a copy from before the first start is an empty directory: another disk") {
  seen_node seen;
  directory d, empty;
  meet(seen, d.start());
  empty.disk = 8;
  CHECK(meet(seen, empty.start()) == start_verdict::fits);
}

TEST_CASE("of two processes with different disks, the one that started last is the node") {
  seen_node seen;
  directory a, b;
  b.disk = 8;
  const auto first = a.start();
  meet(seen, first);
  meet(seen, b.start());
  CHECK(meet(seen, first) == start_verdict::replaced);
  CHECK(meet(seen, a.start()) == start_verdict::fits); // the first disk was put back in, and forgot nothing
}

TEST_CASE("a peer that missed more starts than a greeting tells cannot judge, and more disks than it keeps") {
  seen_node seen;
  directory d;
  meet(seen, d.start());
  auto older = d;
  meet(seen, d.start());
  for (int i = 0; i < 10; ++i)
    older.start();
  older.last.words.erase(older.last.words.begin(), older.last.words.end() - 3);
  CHECK(meet(seen, older.last) == start_verdict::fits);
  for (std::uint64_t disk = 100; disk < 100 + 2 * seen_node::disks_max; ++disk) {
    directory other;
    other.disk = disk;
    CHECK(meet(seen, other.start()) == start_verdict::fits);
  }
  CHECK(seen.disks.size() == seen_node::disks_max);
}

TEST_CASE("a start that is new to a peer is durable there before anything depends on it") {
  slow_book b;
  directory d;
  const auto s = d.start();
  b.judge(s);
  b.judge(s); // the link was lost meanwhile: it is known, and still not durable
  CHECK(b.judged.empty());
  CHECK(b.rows.size() == 1);
  b.sync();
  CHECK(b.judged == std::vector{start_verdict::fits, start_verdict::fits});
  b.judge(s);
  CHECK(b.judged.size() == 3);
  CHECK(b.rows.size() == 1);

  auto older = d;
  b.judge(d.start());
  b.judge(older.start()); // a refusal waits for nothing
  CHECK(b.judged.back() == start_verdict::other);
  CHECK(b.judged.size() == 4);
  b.sync();
  CHECK(b.judged.size() == 5);

  // What was kept is known after this peer's next start. What was not, is judged anew.
  start_book after{b.rows};
  start_verdict v{};
  after.judge(two, older.last, [&](start_verdict it) { v = it; });
  CHECK(v == start_verdict::other);
  CHECK(start_book{{{two, "damaged"}}}.unread() == std::vector{two});
}

TEST_CASE("what is wrong with a node is told once, until it changes") {
  start_book book{{}};
  directory d;
  const auto s = d.start();
  CHECK(book.tell(two, s, start_verdict::older));
  CHECK_FALSE(book.tell(two, s, start_verdict::older));
  CHECK(book.tell(two, s, start_verdict::twice));
  CHECK(book.tell(two, d.start(), start_verdict::twice));
}

TEST_CASE("an older copy gets no session, whoever calls, and is told so by a peer that proved itself") {
  directory first, second;
  second.disk = 9;
  second.start();
  auto older = second;
  const auto book = quick_book();
  auto a = started(1, first.start(), book);
  REQUIRE_FALSE(a.transport->start());
  {
    auto b = started(2, second.start(), quick_book());
    REQUIRE_FALSE(b.transport->start());
    introduce(a, b);
    REQUIRE(both_up(a, b));
  }
  REQUIRE(eventually([&] { return !a.transport->connected(two); }));

  SUBCASE("it calls") {
    auto b = started(2, older.start(), quick_book());
    REQUIRE_FALSE(b.transport->start());
    b.knows(a);
    CHECK(eventually([&] { return b.events.disowned_by(one) == start_verdict::other; }));
    CHECK_FALSE(a.transport->connected(two));
    CHECK(a.transport->starts_refused() == 1);
  }
  SUBCASE("it is called") {
    auto b = started(2, older.start(), quick_book());
    REQUIRE_FALSE(b.transport->start());
    b.transport->set_peer(one, "127.0.0.1", 0); // known, and not called
    a.knows(b);
    CHECK(eventually([&] { return b.events.disowned_by(one) == start_verdict::other; }));
    CHECK_FALSE(a.transport->connected(two));
    CHECK(a.events.disowned_by(two) == start_verdict::fits);
  }
  SUBCASE("it is called, and has forgotten that the peer joined") {
    auto b = started(2, older.start(), quick_book());
    REQUIRE_FALSE(b.transport->start());
    a.knows(b); // but not the other way round
    CHECK(eventually([&] { return b.events.disowned_by(one) == start_verdict::other; }));
    CHECK_FALSE(a.transport->connected(two));
  }
}

TEST_CASE("a node whose start fits and who does not know its caller is not disowned by it") {
  directory first, second;
  second.disk = 9;
  auto a = started(1, first.start(), quick_book());
  auto b = started(2, second.start(), quick_book());
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  a.knows(b); // but not the other way round
  CHECK_FALSE(eventually([&] { return a.transport->connected(two); }, std::chrono::milliseconds{700}));
  CHECK(b.events.disowned_by(one) == start_verdict::fits);
  b.knows(a);
  CHECK(both_up(a, b));
}

TEST_CASE(
    "a process that was started beside another one is refused while that one answers, and not after it") {
  directory first, second;
  second.disk = 9;
  auto a = started(1, first.start(), quick_book());
  REQUIRE_FALSE(a.transport->start());
  auto b = std::make_unique<test_node>([&] {
    auto c = test_links(2);
    c.start = second.start();
    c.book = quick_book();
    return c;
  }());
  REQUIRE_FALSE(b->transport->start());
  introduce(a, *b);
  REQUIRE(both_up(a, *b));
  const auto resets = a.events.resets_of(two);
  auto copy = second;
  {
    auto beside = started(2, copy.start(), quick_book());
    REQUIRE_FALSE(beside.transport->start());
    beside.knows(a);
    CHECK(eventually([&] { return beside.events.disowned_by(one) == start_verdict::twice; }));
  }
  CHECK(a.events.resets_of(two) == resets);
  CHECK(both_up(a, *b));
  b.reset();
  auto again = started(2, second.start(), quick_book());
  REQUIRE_FALSE(again.transport->start());
  again.knows(a);
  CHECK(eventually([&] { return again.transport->connected(one); }));
}
