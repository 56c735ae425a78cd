// The way out: from the outbox to an outcome, over connections that are silent, late, full and cut.
#include "protocol/client/rules/outbox_rules.hpp"
#include "protocol/client/store/memory_store.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace parley;
using namespace parley::client;
using namespace std::chrono_literals;
using fate = outbox_rules::fate;

namespace {

constexpr conversation_id talk{1, 2};
constexpr unix_ms today{1'700'000'000'000};

constexpr std::int64_t ms_of(unix_ms t) {
  return static_cast<std::int64_t>(t);
}

outbox_config small() {
  outbox_config c;
  c.messages_max = 8;
  c.in_flight_max = 4;
  c.in_flight_bytes_max = 1 << 20;
  c.resend = {50ms, 2'000ms};
  c.move_after_refusals = 3;
  c.other_nodes = true;
  return c;
}

/// A device's way out with its store, which outlives it.
struct outbox {
  explicit outbox(outbox_config config = small()) : config_{config}, rules{config} {}

  void post(conversation_id c = talk) { rules.add(store.enqueue(c, "x", {rules.clock(today), online})); }
  void connect() {
    online = true;
    rules.connected();
    if (!rules.empty())
      store.trying(rules.newest());
  }
  /// The message that is sent now; number 0 if none is.
  send_attempt take(instant now = 0s) {
    const auto* i = rules.take(now);
    return i ? send_attempt{i->it.conversation, i->it.counter, i->it.sent_as(), i->attempts} : send_attempt{};
  }
  void cut() {
    online = false;
    rules.lost([](const send_lanes::item&) {});
  }
  void die() {
    online = false;
    rules = outbox_rules{config_};
    for (auto& o : store.waiting())
      rules.add(std::move(o));
  }
  outbox_rules::verdict answer(const send_attempt& a, ec why, instant now = 0s) {
    return rules.refused(a, refuse(why), now, today, chance);
  }
  outbox_rules::verdict stored(const send_attempt& a, bool duplicate, unix_ms at = today) {
    sent placed;
    placed.counter = a.counter;
    placed.conversation = a.conversation;
    placed.seq = seq_no{7};
    placed.at = at;
    placed.duplicate = duplicate;
    return rules.stored(a, placed, today);
  }
  void renumber(const send_attempt& a, unix_ms clock) {
    rules.renumbered(a, store.renumber(a.counter, clock));
  }

  outbox_config config_;
  memory_store store;
  outbox_rules rules;
  dice chance{1};
  bool online = false;
};

} // namespace

TEST_CASE("a message whose connection was cut is sent again, at once, with the same id") {
  outbox device;
  device.post();
  device.connect();
  const auto first = device.take();
  REQUIRE(first.number == 1);
  CHECK(device.take().number == 0); // no answer yet
  device.cut();
  device.connect();
  const auto second = device.take();
  CHECK(second.sent_as == first.sent_as);
  CHECK(second.number == 2);
  CHECK(device.stored(second, true).what == fate::sent); // the first attempt had arrived
}

TEST_CASE("after a crash the store's messages are sent again, in order, with the ids that they had") {
  outbox device;
  device.connect();
  std::vector<std::uint64_t> ids;
  for (int n = 0; n < 3; ++n) {
    device.post();
    ids.push_back(device.store.waiting().back().sent_as());
  }
  device.take();
  device.die();
  device.connect();
  for (const auto id : ids) {
    const auto a = device.take();
    CHECK(a.sent_as == id);
    // The crash may have come after it was stored, so a duplicate is no surprise although the attempt is the
    // first.
    CHECK(a.number == 1);
    CHECK(device.stored(a, true).what == fate::sent);
    message m;
    m.client_id.counter = a.sent_as;
    device.store.sent(m);
    device.rules.settle(a);
  }
  CHECK(device.rules.empty());
  CHECK(device.store.waiting().empty());
}

TEST_CASE("a full outbox takes no further message, and has room again when one has its outcome") {
  outbox device;
  device.connect();
  while (!device.rules.full())
    device.post();
  CHECK(device.rules.size() == 8);
  const auto a = device.take();
  CHECK(device.stored(a, false).what == fate::sent);
  CHECK(device.rules.full()); // until the store has kept it
  device.rules.settle(a);
  CHECK(!device.rules.full());
}

TEST_CASE("no more messages and bytes are under way than the bounds allow") {
  outbox device;
  device.connect();
  for (std::uint64_t n = 1; n <= 8; ++n)
    device.post({n, n});
  for (int n = 0; n < 4; ++n)
    CHECK(device.take().number == 1);
  CHECK(device.take().number == 0);

  auto config = small();
  config.in_flight_bytes_max = 2'000; // each counts 1,024 bytes beside its body
  outbox narrow{config};
  narrow.connect();
  for (std::uint64_t n = 1; n <= 4; ++n)
    narrow.post({n, n});
  CHECK(narrow.take().number == 1);
  CHECK(narrow.take().number == 1);
  CHECK(narrow.take().number == 0);
  narrow.cut();
  CHECK(narrow.take().number != 0); // nothing is under way any more
}

TEST_CASE("a refusal for now keeps the message in its place until its pause is over") {
  outbox device;
  device.connect();
  device.post();
  device.post();
  const auto a = device.take(1s);
  const auto v = device.rules.refused(a, {ec::rate_limited, "", 700ms}, 1s, today, device.chance);
  CHECK(v.what == fate::again);
  REQUIRE(device.rules.next_due() == instant{1'700ms});
  CHECK(device.take(1'699ms).number == 0); // neither the message nor the one behind it
  const auto b = device.take(1'700ms);
  CHECK(b.sent_as == a.sent_as);
  CHECK(b.number == 2);
}

TEST_CASE("a message is given up only after a refusal that is final for the message itself") {
  outbox device;
  device.connect();
  device.post();
  for (const auto why : {ec::unavailable, ec::timed_out, ec::fenced, ec::not_authenticated, ec{1'999}}) {
    const auto a = device.take(1h);
    REQUIRE(a.number != 0);
    CHECK(device.answer(a, why, 0s).what == fate::again);
  }
  const auto a = device.take(1h);
  const auto v = device.answer(a, ec::not_a_member);
  CHECK(v.what == fate::give_up);
  CHECK(v.why == ec::not_a_member);
  CHECK(device.rules.size() == 1); // until the store has kept it
  device.rules.settle(a);
  CHECK(device.answer(a, ec::not_a_member).what == fate::known); // an answer that comes late
  CHECK(device.stored(a, false).what == fate::known);
}

TEST_CASE("a node that refuses too often is left") {
  outbox device;
  device.connect();
  device.post();
  for (int n = 1; n <= 3; ++n) {
    const auto v = device.answer(device.take(1h), ec::not_leader, 0s);
    CHECK(v.leave_node == (n == 3));
  }
}

TEST_CASE(
    "a node that refuses what is too much of a burst is not left, and the rest of the burst is not lost") {
  auto config = small();
  config.messages_max = config.in_flight_max = 20;
  outbox device{config};
  device.connect();
  std::vector<send_attempt> burst;
  for (std::uint64_t n = 1; n <= 20; ++n)
    device.post({n, n});
  for (int n = 0; n < 20; ++n)
    burst.push_back(device.take(1s));
  for (unsigned n = 0; n < 19; ++n)
    CHECK(!device.answer(burst[n], ec::overloaded, 1s + std::chrono::milliseconds{n}).leave_node);
  CHECK(device.stored(burst[19], false).what == fate::sent); // the node has made progress
  // A node that takes nothing at all is left, though later: each attempt begins after the refusal before.
  for (int n = 1; n <= 3; ++n) {
    const auto at = std::chrono::hours{n};
    CHECK(device.answer(device.take(at), ec::overloaded, at + 1s).leave_node == (n == 3));
  }
}

TEST_CASE(
    "an id that the cluster knows although it was never sent belongs to a message that is forgotten here") {
  outbox device;
  device.connect();
  device.post();
  const auto a = device.take();
  auto v = device.stored(a, true); // the same words under the same id
  CHECK(v.what == fate::renumber);
  CHECK(v.clock == today);
  device.renumber(a, v.clock);
  const auto b = device.take();
  CHECK(b.counter == a.counter);
  CHECK(b.sent_as > a.sent_as);
  CHECK(b.number == 1);
  v = device.answer(b, ec::retry_too_old);
  CHECK(v.what == fate::renumber);
  CHECK(ms_of(v.clock) > ms_of(today));
  device.renumber(b, v.clock);
  const auto c = device.take();
  CHECK(device.stored(c, false).what == fate::sent);
}

TEST_CASE("an id that is too old is the end of a message that was sent before") {
  outbox device;
  device.connect();
  device.post();
  device.take();
  device.cut();
  device.connect();
  const auto v = device.answer(device.take(), ec::retry_too_old);
  CHECK(v.what == fate::give_up); // it may be stored, so it is not sent under another id
}

TEST_CASE("a message that gets new ids and no place is given up in the end") {
  outbox device;
  device.connect();
  device.post();
  auto last = ms_of(today);
  for (int renumbered = 0;; ++renumbered) {
    REQUIRE(renumbered <= 8);
    const auto a = device.take();
    const auto v = device.answer(a, ec::conflict);
    if (v.what != fate::renumber) {
      CHECK(v.what == fate::give_up);
      CHECK(renumbered == 8);
      break;
    }
    CHECK(ms_of(v.clock) >= last); // further and further ahead of the clock
    last = ms_of(v.clock);
    device.renumber(a, v.clock);
  }
}

TEST_CASE("a device whose clock is late numbers its messages by the cluster's time") {
  outbox device;
  device.connect();
  device.post();
  const unix_ms later{ms_of(today) + 60'000};
  CHECK(device.stored(device.take(), false, later).what == fate::sent);
  CHECK(device.rules.clock(today) == later);
  CHECK(device.rules.clock(unix_ms{ms_of(later) + 1}) == unix_ms{ms_of(later) + 1});
}
