// Histories written by hand: the checker must reject each bad one by the rule that it breaks,
// and by no other.
#include "tests/harness/chaos/story.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <random>

using namespace parley;
using namespace parley::chaos;
using namespace parley::chaos::test;

namespace {

/// For histories that stop before any member reads to the end.
checker_config acks_only() {
  checker_config config;
  config.replicas = 0;
  config.expects_syncs = false;
  config.expects_inboxes = false;
  config.info_share_max = 1;
  return config;
}

void rejects(int rule, const verdict& v) {
  for (const auto& x : v.violations)
    INFO("rule ", x.rule, ": ", x.what);
  for (std::size_t r = 0; r < v.by_rule.size(); ++r) {
    CAPTURE(r);
    if (static_cast<int>(r) == rule)
      CHECK(v.by_rule[r] > 0);
    else
      CHECK(v.by_rule[r] == 0);
  }
  CHECK_FALSE(v.clean());
}

void accepts(const verdict& v) {
  for (const auto& x : v.violations)
    MESSAGE("rule " << x.rule << ": " << x.what);
  CHECK(v.clean());
}

} // namespace

TEST_CASE("rule 1: two messages acknowledged at one place") {
  story s;
  s.send(alices, 1, 1);
  s.send(bobs, 1, 2);
  s.invoke(alices, 2);
  s.invoke(bobs, 2);
  s.answer(alices, 2, 3);
  s.answer(bobs, 2, 3);
  const auto v = s.judge(acks_only());
  rejects(1, v);
  CHECK(v.reordered == 1);
}

TEST_CASE("rule 1: a replica holds another message at the place than was acknowledged") {
  story s;
  s.invoke(alices, 1);
  s.invoke(alices, 2);
  s.answer(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.read_all(a, 1);
  s.read_all(b, 1);
  s.dump(0, 1);
  s.dump(1, 1);
  s.heads.push_back({2, {0, 1, 7, "s"}});
  s.row(2, 2, 1);
  rejects(1, s.judge());
}

TEST_CASE("rule 1: a place whose msg_id changes") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1).msg = {9, 9};
  s.end_well(1);
  rejects(1, s.judge());
}

TEST_CASE("rule 2: a retry is given a second place") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 1, 2);
  const auto v = s.judge(acks_only());
  rejects(2, v);
  CHECK(v.duplicated == 1);
}

TEST_CASE("rule 2: one message stands twice in a member's sync") {
  story s;
  s.send(alices, 1, 1);
  s.begin_read(b);
  s.item(action::read_item, b, alices, 1, 0, 1);
  s.item(action::read_item, b, alices, 1, 0, 2);
  s.end_read(b);
  rejects(2, s.judge(acks_only()));
}

TEST_CASE("rule 3: a replica lacks an acknowledged message") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 2, 1, 2);
  s.read_all(a, 2);
  s.read_all(b, 2);
  s.dump(0, 2);
  s.dump(1, 2);
  s.dump(2, 1, 6, "behind");
  const auto v = s.judge();
  rejects(3, v);
  CHECK(v.lost == 1);
}

TEST_CASE("rule 3: a member never got to see an acknowledged message") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.read_all(a, 1);
  for (std::size_t r = 0; r < 3; ++r)
    s.dump(r, 1);
  rejects(3, s.judge());
}

TEST_CASE("rule 3: a shard is left with two replicas") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.read_all(a, 1);
  s.read_all(b, 1);
  s.dump(0, 1);
  s.dump(1, 1);
  rejects(3, s.judge());
}

TEST_CASE("rule 4: a message that nobody sent") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 77, 1, 2);
  rejects(4, s.judge(acks_only()));
}

TEST_CASE("rule 4: a message with another body than was sent") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1).hash[5] = 1;
  s.end_well(1);
  rejects(4, s.judge());
}

TEST_CASE("rule 4: a message that was refused as not stored, and is there") {
  story s;
  s.invoke(alices, 1);
  s.answer(alices, 1, 0, phase::fail);
  s.push(b, alices, 1, 0, 1);
  s.end_well(1);
  rejects(4, s.judge());
}

TEST_CASE("rule 5: acknowledged places leave one out") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 3);
  const auto v = s.judge(acks_only());
  rejects(5, v);
  CHECK(v.gaps == 1);
}

TEST_CASE("rule 5: a replica has a hole where a message of unknown outcome stands elsewhere") {
  story s;
  s.invoke(alices, 1);
  s.send(alices, 2, 2);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 2, 1, 2);
  s.read_all(a, 2);
  s.read_all(b, 2);
  s.dump(0, 2);
  s.dump(1, 2);
  s.heads.push_back({2, {0, 1, 7, "s"}});
  s.row(2, 2, 2);
  rejects(5, s.judge());
}

TEST_CASE("rule 6: a message placed below one that was acknowledged before it was sent") {
  story s;
  s.invoke(bobs, 9);
  s.send(alices, 1, 2);
  s.send(alices, 2, 1);
  rejects(6, s.judge(acks_only()));
}

TEST_CASE("rule 6: a retry's first try counts, not the retry, yet the place is below both") {
  story s;
  s.invoke(bobs, 9);
  s.send(alices, 1, 2);
  s.invoke(alices, 2);
  s.answer(alices, 2, 0, phase::info);
  s.invoke(alices, 2);
  s.answer(alices, 2, 1);
  auto config = acks_only();
  config.info_share_max = 1;
  const auto v = s.judge(config);
  rejects(6, v);
  CHECK(v.reordered == 1);
}

TEST_CASE("rule 7: a sync of a conversation leaves out a message") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.send(alices, 3, 3);
  s.begin_read(b);
  s.item(action::read_item, b, alices, 1, 0, 1);
  s.item(action::read_item, b, alices, 3, 0, 3);
  s.end_read(b);
  rejects(7, s.judge(acks_only()));
}

TEST_CASE("rule 7: a stale sync, short of what was acknowledged before it was asked") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.begin_read(b);
  s.item(action::read_item, b, alices, 1, 0, 1);
  s.end_read(b);
  rejects(7, s.judge(acks_only()));
}

TEST_CASE("rule 7: a page of the inbox that leaves out another user's message") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.add(b, phase::ok, action::inbox_begin);
  s.item(action::inbox, b, alices, 2, 1, 2);
  rejects(7, s.judge(acks_only()));
}

TEST_CASE("rule 7: an inbox that claims to have covered what its user did not send") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.add(b, phase::ok, action::inbox_begin);
  s.item(action::inbox, b, alices, 2, 0, 2);
  rejects(7, s.judge(acks_only()));
}

TEST_CASE("rule 7: an inbox that has not caught up when it should have") {
  story s;
  s.send(alices, 1, 1);
  s.add(a, phase::ok, action::caught_up);
  rejects(7, s.judge(acks_only()));
}

TEST_CASE("rule 8: a connection gets a message twice") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 1, 0, 1);
  const auto v = s.judge(acks_only());
  rejects(8, v);
  CHECK(v.duplicated == 1);
}

TEST_CASE("rule 8: a connection gets messages in the wrong order") {
  story s;
  s.send(alices, 1, 1);
  s.send(alices, 2, 2);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 2, 1, 2);
  s.push(b, alices, 1, 0, 1);
  rejects(8, s.judge(acks_only()));
}

TEST_CASE("rule 8: a push that does not follow the one before it") {
  story s;
  for (std::uint64_t i = 1; i <= 3; ++i)
    s.send(alices, i, i);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 3, 2, 3);
  rejects(8, s.judge(acks_only()));
}

TEST_CASE("rule 8: a new connection goes on beyond what the device has got") {
  story s;
  for (std::uint64_t i = 1; i <= 3; ++i)
    s.send(alices, i, i);
  s.push(b, alices, 1, 0, 1);
  s.connect(2, bob, bobs);
  s.push(2, alices, 3, 2, 3);
  rejects(8, s.judge(acks_only()));
}

TEST_CASE("rule 8: a client shows a message again after a reconnect") {
  story s;
  s.send(alices, 1, 1);
  s.item(action::applied, b, alices, 1, 0, 1);
  s.connect(2, bob, bobs);
  s.item(action::applied, 2, alices, 1, 0, 1);
  rejects(8, s.judge(acks_only()));
}

TEST_CASE("rule 11: two replicas that applied the same differ") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.read_all(a, 1);
  s.read_all(b, 1);
  s.dump(0, 1);
  s.dump(1, 1);
  s.dump(2, 1, 7, "another");
  rejects(11, s.judge());
}

TEST_CASE("rule 11: a replica that halted within an entry is compared only with one that halted there too") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.read_all(a, 1);
  s.read_all(b, 1);
  s.dump(0, 1, 7, "within", 2);
  s.dump(1, 1, 7, "before");
  SUBCASE("and both differ from the one before that entry") {
    s.dump(2, 1, 7, "within", 2);
    CHECK(s.judge().clean());
  }
  SUBCASE("they differ") {
    s.dump(2, 1, 7, "another", 2);
    rejects(11, s.judge());
  }
  SUBCASE("two others differ") {
    s.dump(2, 1, 7, "another");
    rejects(11, s.judge());
  }
}

TEST_CASE("rule 13: no ack within five seconds of healing") {
  story s;
  s.invoke(alices, 1);
  s.add(a, phase::ok, action::healed);
  s.now_ns += 6'000'000'000;
  s.answer(alices, 1, 1);
  rejects(13, s.judge(acks_only()));
}

TEST_CASE("rule 13: never an ack after healing") {
  story s;
  s.send(alices, 1, 1);
  s.invoke(alices, 2);
  s.add(a, phase::ok, action::healed);
  rejects(13, s.judge(acks_only()));
}

TEST_CASE("rule 13: too many outcomes stay unknown") {
  story s;
  s.send(alices, 1, 1);
  s.invoke(alices, 2);
  s.answer(alices, 2, 0, phase::info);
  auto config = acks_only();
  config.info_share_max = 0.05;
  rejects(13, s.judge(config));
}

TEST_CASE("rule 13: a run whose faults did not happen proves nothing") {
  story s;
  s.send(alices, 1, 1);
  auto config = acks_only();
  config.kills_min = 1;
  rejects(13, s.judge(config));
}

TEST_CASE("a quiet run is clean") {
  story s;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    s.send(alices, i, i);
    s.push(b, alices, i, i - 1, i);
  }
  s.end_well(3);
  const auto v = s.judge();
  accepts(v);
  CHECK(v.acked == 3);
  CHECK(v.replica_rows == 9);
}

TEST_CASE("a client killed mid-send tries again, a kill in between, and all is well") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.invoke(alices, 2);
  s.add(a, phase::ok, action::kill).node = node_id{2};
  s.add(a, phase::ok, action::client_kill);
  s.answer(alices, 2, 0, phase::info);
  s.push(b, alices, 2, 1, 2); // it was stored nevertheless
  s.invoke(alices, 2);
  s.add(a, phase::ok, action::healed);
  s.answer(alices, 2, 2);
  s.end_well(2);
  auto config = checker_config{};
  config.info_share_max = 0.5;
  config.kills_min = config.client_kills_min = 1;
  const auto v = s.judge(config);
  accepts(v);
  CHECK(v.messages == 2);
  CHECK(v.attempts == 3);
  CHECK(v.acked == 2);
  CHECK(v.info == 0);
  CHECK(v.unanswered == 1);
  CHECK(v.failover_max_ms > 0);
}

TEST_CASE("of two reads of one conversation at a time each is held against its own beginning") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.begin_read(b, 1);                                 // for the caller
  s.begin_read(b, 0);                                 // to fill a gap
  s.add(b, phase::ok, action::read).prev = seq_no{1}; // there is nothing newer
  s.item(action::read_item, b, alices, 1, 0, 1);
  s.end_read(b);
  s.read_all(a, 1);
  for (std::size_t replica = 0; replica < 3; ++replica)
    s.dump(replica, 1);
  accepts(s.judge());
}

TEST_CASE("a stream may leave out what its own user sent, and begin again after a resync") {
  story s;
  s.send(alices, 1, 1);
  s.send(bobs, 1, 2);
  s.send(bobs, 2, 3);
  s.send(alices, 2, 4);
  s.push(b, alices, 1, 0, 1);
  s.push(b, alices, 2, 1, 4);
  s.add(b, phase::ok, action::resync);
  s.push(b, alices, 2, 1, 4);
  s.push(a, bobs, 1, 0, 2);
  s.push(a, bobs, 2, 2, 3);
  s.connect(2, bob, bobs);
  s.push(2, alices, 1, 0, 1); // the device had not confirmed it, so it is sent again on the next connection
  s.add(2, phase::ok, action::inbox_begin);
  s.item(action::inbox, 2, alices, 2, 1, 4);
  s.add(a, phase::ok, action::caught_up);
  accepts(s.judge(acks_only()));
}

TEST_CASE("a refused send that is tried again may be stored") {
  story s;
  s.invoke(alices, 1);
  s.answer(alices, 1, 0, phase::fail);
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.end_well(1);
  accepts(s.judge());
}

TEST_CASE("a replica of an older generation owes nothing") {
  story s;
  s.send(alices, 1, 1);
  s.push(b, alices, 1, 0, 1);
  s.end_well(1);
  s.heads.push_back({3, {0, 0, 2, "old"}});
  accepts(s.judge());
}

TEST_CASE("a history survives its file, and a torn one is noticed") {
  const auto path =
      (std::filesystem::temp_directory_path() / ("parley-history-" + std::to_string(std::random_device{}())))
          .string();
  story s;
  s.send(alices, 1, 1);
  {
    history_writer w{path};
    for (const auto& e : s.events)
      REQUIRE(w.put(e));
    REQUIRE(w.flush());
  }
  std::size_t n = 0;
  history_reader r{path};
  while (const auto e = r.next())
    CHECK(e->t_mono_ns == s.events[n++].t_mono_ns);
  CHECK(r.ok());
  CHECK(n == s.events.size());

  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  history_reader torn{path};
  while (torn.next())
    ;
  CHECK_FALSE(torn.ok());
  std::filesystem::remove(path);
}

TEST_CASE("the lines of a dump are understood, and other lines are not taken for them") {
  std::optional<replica_head> head;
  std::optional<replica_message> message;
  CHECK(parse_dump_line(
      R"({"shard":3,"generation":2,"applied_index":99,"applied_commands":4,"state_hash":"ab"})", head,
      message));
  REQUIRE(head);
  CHECK(head->gen == 2);
  CHECK(head->applied_index == 99);
  CHECK(head->applied_commands == 4);
  CHECK(head->state_hash == "ab");
  CHECK(parse_dump_line(
      R"({"shard": 3, "conversation": "00000000000000110000000000000022", "seq": 5, "msg_id": "000000000000000100000000000000ff", "sender": "7", "device": "18446744073709551615", "client_counter": 4, "body_sha256": "0100000000000000000000000000000000000000000000000000000000000000", "at": 12})",
      head, message));
  REQUIRE(message);
  CHECK(message->conversation == room);
  CHECK(message->seq == seq_no{5});
  CHECK(message->sender == device_id{~0ull});
  CHECK(message->hash == hash_of(1));
  CHECK(parse_dump_line(R"({"shard":3,"generation":2,"life":"waiting"})", head, message));
  CHECK_FALSE(head);
  CHECK(parse_dump_line(
      R"({"shard":3,"conversation":"00000000000000110000000000000022","user":"7","delivered":5,"read":4})",
      head, message));
  CHECK_FALSE(message);
  CHECK_FALSE(parse_dump_line("warning: something else", head, message));
  CHECK_FALSE(parse_dump_line(R"({"shard":3,"conversation":"12"})", head, message));
}

TEST_CASE("a long history is judged in one pass") {
  // 200 conversations of two users: every message is sent, acknowledged and pushed, then
  // read by both members.
  constexpr std::uint64_t rooms = 200, each = 500;
  std::vector<event> events;
  const auto of_room = [](event e, std::uint64_t r) {
    e.conversation = {0, r + 1};
    return e;
  };
  story s;
  for (std::uint64_t r = 0; r < rooms; ++r) {
    events.push_back(of_room(s.add(a, phase::ok, action::member), r));
    events.back().reader = alice;
    events.push_back(of_room(s.add(b, phase::ok, action::member), r));
    events.back().reader = bob;
  }
  events.insert(events.begin(), s.events.begin(), s.events.begin() + 4);
  for (std::uint64_t i = 1; i <= each; ++i) {
    for (std::uint64_t r = 0; r < rooms; ++r) {
      const auto counter = (i - 1) * rooms + r + 1;
      events.push_back(of_room(s.invoke(alices, counter), r));
      events.push_back(of_room(s.answer(alices, counter, i), r));
      events.push_back(of_room(s.push(b, alices, counter, i - 1, i), r));
      s.events.clear();
    }
  }
  for (const auto process : {a, b}) {
    for (std::uint64_t r = 0; r < rooms; ++r) {
      s.events.clear();
      s.begin_read(process);
      for (std::uint64_t i = 1; i <= each; ++i)
        s.item(action::read_item, process, alices, (i - 1) * rooms + r + 1, 0, i);
      s.end_read(process);
      for (const auto& e : s.events)
        events.push_back(of_room(e, r));
    }
  }
  auto config = checker_config{};
  config.replicas = 0;
  const auto began = std::chrono::steady_clock::now();
  checker c{config};
  for (const auto& e : events)
    c.take(e);
  const auto v = c.finish();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  accepts(v);
  CHECK(v.acked == rooms * each);
  MESSAGE(events.size() << " events, "
                        << static_cast<std::uint64_t>(static_cast<double>(events.size()) / took.count())
                        << " events/s");
}
