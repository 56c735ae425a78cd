#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

#include <sys/wait.h>
#include <unistd.h>

using namespace parley;
using test::machine_fixture;

namespace {

/// Runs `f` in a process of its own; its exit status, or 128 and the signal that ended it.
template <class F>
int dies(F&& f) {
  const auto child = fork();
  if (child == 0) {
    ::close(2);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

TEST_CASE_FIXTURE(machine_fixture,
                  "a command that meets a row which fails its checksum is not applied as if it were absent") {
  open();
  const auto key = storage::shard_view::prefix(shard, 0) + std::string{cluster::rows::head_key(room)};
  REQUIRE(disk.corrupt(storage::table::state, key));
  auto txn = disk.begin_write();
  storage::shard_txn state{*txn, shard, 0};
  const auto again = core::encode_for(core::format_number::newest, core::command{opening(alice, bob)});
  const auto why = machine.apply(state, {shard, generation{1}, 1, 9}, again, 7);
  CHECK(why == "a row of its state does not match its checksum");
  CHECK(state.status() == ec::corrupt);
  CHECK(machine.take_results().answers.empty());
}

TEST_CASE_FIXTURE(machine_fixture, "a direct conversation needs the id of its pair, in order") {
  auto c = opening(alice, bob);
  c.conversation.lo ^= 1;
  CHECK(done(c) == ec::bad_request);
  c = opening(alice, bob);
  std::swap(c.low, c.high);
  CHECK(done(c) == ec::bad_request);
  c = opening(alice, bob);
  c.high = c.low;
  CHECK(done(c) == ec::bad_request);
  CHECK(disk.rows(storage::table::state) == 0);
}

TEST_CASE_FIXTURE(machine_fixture, "opening again changes nothing") {
  open();
  REQUIRE(news.debts.size() == 1);
  const auto& debt = std::get<core::owed_opening>(news.debts[0].what);
  CHECK(debt.what.members == std::vector{alice, bob});
  REQUIRE(debt.to.size() == 2);
  CHECK(debt.to[0].membership == 1);
  const auto before = disk.dump(storage::table::state);
  CHECK(done(opening(alice, bob)) == ec::none);
  CHECK(news.debts.empty());
  CHECK(disk.dump(storage::table::state) == before);
}

TEST_CASE_FIXTURE(machine_fixture, "a message to a conversation that does not exist is refused") {
  CHECK(send(alice, alices, 1).error == ec::no_such_conversation);
  CHECK(disk.rows(storage::table::state) == 0);
}

TEST_CASE_FIXTURE(machine_fixture, "a stranger's message is refused and uses no number") {
  open();
  CHECK(send(carol, device_id{301}, 1).error == ec::not_a_member);
  CHECK(send(alice, alices, 1).seq == seq_no{1});
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a body above 64 KiB is refused and uses no number, one of 64 KiB is stored") {
  open();
  CHECK(send(alice, alices, 1, std::string(65537, 'x')).error == ec::too_large);
  CHECK(send(alice, alices, 1, std::string(65536, 'x')).seq == seq_no{1});
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a retry gets the first answer, also after a restart, and stores nothing") {
  open();
  const auto first = send(alice, alices, 1, "hello");
  CHECK(first.error == ec::none);
  CHECK(first.seq == seq_no{1});
  CHECK(first.id == derive_message_id(room, seq_no{1}));
  CHECK(first.duplicate == 0);
  send(bob, bobs, 1, "hi");
  const auto before = disk.dump(storage::table::state);
  for (bool restarted : {false, true}) {
    if (restarted)
      restart();
    auto retry = text(alice, alices, 1, "hello");
    retry.at = unix_ms{9999};
    const auto again = send(retry);
    CHECK(again.error == ec::none);
    CHECK(again.duplicate == 1);
    CHECK(again.seq == first.seq);
    CHECK(again.id == first.id);
    CHECK(again.at == first.at);
    CHECK(news.debts.empty());
    CHECK(disk.dump(storage::table::state) == before);
    const auto early = read([&](auto& v) { return cluster::queries::find_retry(v, retry); });
    REQUIRE(early);
    CHECK(early->seq == first.seq);
    CHECK(early->duplicate == 1);
  }
}

TEST_CASE_FIXTURE(machine_fixture,
                  "the same id with another body is a conflict that carries the first answer") {
  open();
  const auto first = send(alice, alices, 1, "hello");
  const auto other = send(alice, alices, 1, "goodbye");
  CHECK(other.error == ec::conflict);
  CHECK(other.duplicate == 1);
  CHECK(other.seq == first.seq);
  CHECK(other.id == first.id);
  CHECK(page(bob).messages.size() == 1);
  const auto early =
      read([&](auto& v) { return cluster::queries::find_retry(v, text(alice, alices, 1, "goodbye")); });
  REQUIRE(early);
  CHECK(early->error == ec::conflict);
}

TEST_CASE_FIXTURE(machine_fixture, "an id costs the same few look-ups, whatever its counter is") {
  open();
  for (std::uint64_t c = 301; c <= 900; ++c)
    REQUIRE(send(alice, alices, c).error == ec::none);
  for (const std::uint64_t c : {0, 1, 300, 400, 645, 900, 901}) {
    CAPTURE(c);
    send(alice, alices, c);
    CHECK(rows_read <= 3); // the conversation's head, the sender's, and a row of ids
  }
}

TEST_CASE_FIXTURE(machine_fixture,
                  "an id below the window is too old and never stored, the window's oldest is a retry") {
  open();
  CHECK(send(alice, alices, 0).error == ec::retry_too_old);
  for (std::uint64_t c = 1; c <= 300; ++c)
    REQUIRE(send(alice, alices, c, std::to_string(c)).seq == seq_no{c});
  restart();
  CHECK(send(alice, alices, 44, "44").error == ec::retry_too_old);
  CHECK(send(alice, alices, 45, "45").seq == seq_no{45});
  CHECK(send(alice, alices, 45, "45").duplicate == 1);
  CHECK(read([&](auto& v) {
          return cluster::queries::find_retry(v, text(alice, alices, 44, "44"));
        })->error == ec::retry_too_old);
  CHECK_FALSE(read([&](auto& v) { return cluster::queries::find_retry(v, text(alice, alices, 301, "")); }));
  CHECK(page(alice).last == seq_no{300});
  // another device of the same user counts for itself
  CHECK(send(alice, alices_tablet, 1).seq == seq_no{301});
}

TEST_CASE_FIXTURE(machine_fixture, "the times of a conversation's messages never go back") {
  open();
  auto s = text(alice, alices, 1, "a");
  s.at = unix_ms{5000};
  send(s);
  s = text(bob, bobs, 1, "b");
  s.at = unix_ms{4000}; // a slow clock
  CHECK(send(s).at == unix_ms{5000});
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a message is owed to the other members, to each from where its stream ends") {
  open();
  send(alice, alices, 1, "one");
  send(alice, alices, 2, "two");
  auto debt = std::get<core::owed_message>(news.debts.at(0).what);
  REQUIRE(news.debts[0].full);
  CHECK(news.debts[0].full->body == "two");
  REQUIRE(debt.to.size() == 1);
  CHECK(debt.to[0].user == bob);
  CHECK(debt.to[0].prev == seq_no{1});
  send(bob, bobs, 1, "three");
  debt = std::get<core::owed_message>(news.debts.at(0).what);
  REQUIRE(debt.to.size() == 1);
  CHECK(debt.to[0].user == alice);
  CHECK(debt.to[0].prev == seq_no::none); // alice wrote 1 and 2 herself

  auto own = text(alice, alices, 3, "four");
  own.copy_own = 1;
  send(own);
  debt = std::get<core::owed_message>(news.debts.at(0).what);
  REQUIRE(debt.to.size() == 2);
  CHECK(debt.to[0].user == alice);
  CHECK(debt.to[0].prev == seq_no{3});
  CHECK(debt.to[1].user == bob);
  CHECK(debt.to[1].prev == seq_no{2});
}

TEST_CASE_FIXTURE(machine_fixture,
                  "debts are kept until they are confirmed, and their numbers continue after a restart") {
  open();
  for (std::uint64_t c = 1; c <= 4; ++c)
    send(alice, alices, c, "m" + std::to_string(c));
  auto rows = debts();
  REQUIRE(rows.size() == 5);
  for (std::size_t i = 0; i < rows.size(); ++i)
    CHECK(rows[i].number == i + 1);
  CHECK(rows[4].full->body == "m4");
  CHECK(done(core::confirm_debts{3}) == ec::none);
  CHECK(done(core::confirm_debts{2}) == ec::none); // late, harmless
  CHECK(debts().at(0).number == 4);
  restart();
  send(alice, alices, 5);
  CHECK(news.debts.at(0).number == 6);
  CHECK(done(core::confirm_debts{1'000'000}) == ec::none); // beyond the end
  CHECK(debts().empty());
  restart(); // no row is left to tell the number
  send(alice, alices, 6);
  CHECK(news.debts.at(0).number == 7);
  machine.replaced(shard);
  send(alice, alices, 7);
  CHECK(news.debts.at(0).number == 8);
}

TEST_CASE_FIXTURE(machine_fixture,
                  "debts behind one that is owed are forgotten by themselves, and no number is given twice") {
  open();
  for (std::uint64_t c = 1; c <= 9; ++c)
    send(alice, alices, c);
  const auto numbers = [&] {
    std::vector<std::uint64_t> out;
    for (const auto& d : debts())
      out.push_back(d.number);
    return out;
  };
  const auto newest = [&] {
    return read([&](auto& v) { return cluster::queries::read_debts(v, shard, 0, 100, 1 << 20).newest; });
  };
  CHECK(newest() == 10);
  CHECK(done(core::confirm_debts{0, {{3, 4}, {6, 6}}}) == ec::none);
  CHECK(numbers() == std::vector<std::uint64_t>{1, 2, 5, 7, 8, 9, 10});
  CHECK(done(core::confirm_debts{1, {{3, 7}, {9, 1'000}}}) == ec::none); // some again, some beyond the end
  CHECK(numbers() == std::vector<std::uint64_t>{2, 8});
  CHECK(newest() == 10);
  restart(); // the newest debt has no row any more
  send(alice, alices, 10);
  CHECK(news.debts.at(0).number == 11);
  CHECK(newest() == 11);
  CHECK(done(core::confirm_debts{8, {}}) == ec::none);
  CHECK(numbers() == std::vector<std::uint64_t>{11});
}

TEST_CASE_FIXTURE(machine_fixture, "a follower keeps the debts but hands none out, and answers no call") {
  open();
  machine.set_leading(shard, false);
  auto txn = disk.begin_write();
  storage::shard_txn state{*txn, shard, 0};
  CHECK_FALSE(machine.apply(state, {shard, generation{1}, 1, ++index},
                            core::encode_for(core::format_number::newest, core::command{core::append_message{
                                                                              text(alice, alices, 1, "x")}}),
                            0));
  CHECK(txn->commit() == ec::none);
  CHECK(machine.take_results().empty());
  CHECK(debts().size() == 2);
}

TEST_CASE_FIXTURE(machine_fixture, "watermarks of strangers and of unknown conversations are ignored") {
  open();
  send(alice, alices, 1);
  CHECK(done(core::raise_watermarks{{{room, carol, seq_no{1}, seq_no{1}}, {{7, 7}, bob, seq_no{1}, {}}}}) ==
        ec::none);
  CHECK(news.debts.empty());
}

TEST_CASE_FIXTURE(machine_fixture,
                  "a watermark rises, never past the last message, and is owed to the others") {
  open();
  send(alice, alices, 1);
  send(alice, alices, 2);
  const auto raise = [&](std::uint64_t delivered, std::uint64_t seen) {
    done(core::raise_watermarks{{{room, bob, seq_no{delivered}, seq_no{seen}}}});
  };
  raise(1, 0);
  REQUIRE(news.debts.size() == 1);
  auto debt = std::get<core::owed_receipt>(news.debts[0].what);
  CHECK(debt.mark == core::watermark{room, bob, seq_no{1}, {}});
  REQUIRE(debt.to.size() == 1);
  CHECK(debt.to[0].user == alice);
  raise(1, 0);
  CHECK(news.debts.empty());
  raise(0, 99);
  debt = std::get<core::owed_receipt>(news.debts.at(0).what);
  CHECK(debt.mark == core::watermark{room, bob, seq_no{2}, seq_no{2}});
  REQUIRE(debt.to.size() == 2); // bob's other devices too
  CHECK(debt.to[1].user == bob);
  CHECK(debt.to[1].prev == seq_no{2});
  raise(1, 1);
  CHECK(news.debts.empty());
  CHECK(page(alice).marks ==
        std::vector<core::watermark>{{room, alice, {}, {}}, {room, bob, seq_no{2}, seq_no{2}}});
}

TEST_CASE_FIXTURE(machine_fixture, "only members read a conversation") {
  CHECK(page(alice).error == ec::no_such_conversation);
  open();
  CHECK(page(carol).error == ec::not_a_member);
  CHECK(page(carol).messages.empty());
}

TEST_CASE_FIXTURE(machine_fixture, "a conversation is read in pages bounded by rows and bytes, gaplessly") {
  open();
  for (std::uint64_t c = 1; c <= 600; ++c)
    send(alice, alices, c, "m" + std::to_string(c));
  const auto first = page(bob, 0, 4'000'000'000u);
  CHECK(first.messages.size() == 500);
  CHECK(first.more == 1);
  CHECK(first.last == seq_no{600});
  const auto rest = page(bob, 500);
  CHECK(rest.messages.size() == 100);
  CHECK(rest.more == 0);
  CHECK(rest.messages.front().seq == seq_no{501});
  CHECK(rest.messages.back().body == "m600");
  CHECK(page(bob, 600).messages.empty());
  CHECK(page(bob, UINT64_MAX).messages.empty());
  for (std::uint64_t c = 601; c <= 640; ++c)
    send(alice, alices, c, std::string(60'000, 'x'));
  const auto big = page(bob, 600);
  CHECK(big.messages.size() == 17);
  CHECK(big.more == 1);
  const auto few = read([&](auto& v) {
    return cluster::queries::read_messages(v, room, seq_no{10}, seq_no{14}, 100, 1 << 20);
  });
  REQUIRE(few.size() == 4);
  CHECK(few[0].seq == seq_no{11});
}

TEST_CASE_FIXTURE(machine_fixture, "a page with an unreadable message is an error, not a page with a gap") {
  open();
  for (std::uint64_t c = 1; c <= 3; ++c)
    send(alice, alices, c);
  const auto key =
      storage::shard_view::prefix(shard, 0) + std::string{cluster::rows::message_key(room, seq_no{2})};
  REQUIRE(disk.corrupt(storage::table::state, key));
  CHECK(page(bob).error == ec::corrupt);
  CHECK(page(bob).messages.empty());
}
