#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

#include <deque>
#include <random>

using namespace parley;
using test::machine_fixture;

namespace {

/// A shard that holds both sides: conversations whose debts a careless network carries to inboxes.
struct world {
  explicit world(unsigned seed) : rng{seed} {}

  static constexpr std::uint64_t users = 4;
  machine_fixture f;
  std::mt19937_64 rng;
  std::vector<std::pair<conversation_id, std::pair<user_id, user_id>>> rooms;
  std::map<client_msg_id, std::pair<core::submission, core::placement>> sent;
  std::map<std::uint64_t, std::uint64_t> counters; // per device
  std::deque<core::command> under_way; // what the network holds, in any order, as often as it likes
  std::vector<std::string> log;        // everything applied, to be replayed elsewhere
  std::map<std::pair<conversation_id, user_id>, core::progress> marks;

  std::uint64_t pick(std::uint64_t n) { return rng() % n; }

  core::outcome apply(const core::command& c) {
    log.push_back(core::encode_for(core::format_number::newest, c));
    if (pick(50) == 0)
      f.restart();
    return f.apply(c);
  }

  void set_up() {
    for (std::uint64_t u = 1; u <= users; ++u)
      apply(f.device(user_id{u}, device_id{u}));
    for (std::uint64_t a = 1; a <= users; ++a)
      for (auto b = a + 1; b <= users; ++b) {
        apply(f.opening(user_id{a}, user_id{b}));
        rooms.push_back({core::direct_conversation(user_id{a}, user_id{b}), {user_id{a}, user_id{b}}});
      }
  }

  void send() {
    const auto& [room, pair] = rooms[pick(rooms.size())];
    const auto from = pick(2) ? pair.first : pair.second;
    // a device's counter is one for all its conversations
    core::submission s =
        f.text(from, device_id{number(from)}, ++counters[number(from)], std::to_string(rng()));
    s.conversation = room;
    s.copy_own = static_cast<std::uint8_t>(pick(4) == 0);
    s.at = unix_ms{static_cast<std::int64_t>(pick(1'000'000))};
    const auto p = std::get<core::placement>(apply(core::append_message{s}));
    CHECK(p.error == ec::none);
    CHECK(p.duplicate == 0);
    sent[s.id] = {s, p};
  }

  void retry() {
    if (sent.empty())
      return;
    auto i = std::next(sent.begin(), static_cast<std::ptrdiff_t>(pick(sent.size())));
    auto s = i->second.first;
    const bool other = pick(3) == 0;
    if (other)
      s.hash[31] = 1;
    const auto p = std::get<core::placement>(apply(core::append_message{s}));
    CHECK(p.error == (other ? ec::conflict : ec::none));
    CHECK(p.duplicate == 1);
    CHECK(p.seq == i->second.second.seq);
    CHECK(p.id == i->second.second.id);
    CHECK(p.at == i->second.second.at);
  }

  /// What a fan-out actor does with a debt.
  static core::command pay(const core::incurred& d) {
    if (const auto* w = std::get_if<core::owed_watermark>(&d.what))
      return core::raise_watermarks{{w->mark}};
    core::append_inbox c;
    if (const auto* m = std::get_if<core::owed_message>(&d.what)) {
      for (const auto& t : m->to)
        c.parts.push_back(
            {t.user, m->conversation, t.membership, t.prev, m->seq, {core::message_news{t.prev, *d.full}}});
    } else if (const auto* o = std::get_if<core::owed_opening>(&d.what)) {
      for (const auto& t : o->to)
        c.parts.push_back({t.user, o->what.conversation, t.membership, t.prev, t.prev, {o->what}});
    } else {
      const auto& r = std::get<core::owed_receipt>(d.what);
      for (const auto& t : r.to)
        c.parts.push_back({t.user, r.mark.conversation, t.membership, t.prev, t.prev, {r.mark}});
    }
    return c;
  }

  void fan_out() {
    const auto debts = f.debts();
    if (!debts.empty())
      under_way.push_back(pay(debts[pick(debts.size())]));
  }

  void arrive() {
    if (under_way.empty())
      return;
    const auto i = under_way.begin() + static_cast<std::ptrdiff_t>(pick(under_way.size()));
    const auto c = *i;
    if (pick(3) != 0)
      under_way.erase(i);
    apply(c);
  }

  void acknowledge() {
    const user_id u{1 + pick(users)};
    apply(core::advance_cursor{u, device_id{number(u)}, inbox_pos{pick(60)}});
  }

  void read_something() {
    const auto& [room, pair] = rooms[pick(rooms.size())];
    apply(core::raise_watermarks{
        {{room, pick(2) ? pair.first : pair.second, seq_no{pick(20)}, seq_no{pick(20)}}}});
  }

  /// In order, everything that is still owed: in the end, nothing is missing.
  void drain() {
    for (auto debts = f.debts(); !debts.empty(); debts = f.debts())
      for (const auto& d : debts) {
        const auto what = apply(pay(d));
        if (const auto* o = std::get_if<core::inbox_outcomes>(&what))
          for (const auto& part : o->parts)
            CHECK(part.error == ec::none);
        apply(core::confirm_debts{d.number});
      }
  }

  void check_conversations() {
    for (const auto& [room, pair] : rooms) {
      const auto p = f.read([&](auto& v) {
        return cluster::queries::read_conversation(v, {room, pair.first, {}, 0});
      });
      CHECK(p.messages.size() == number(p.last));
      auto at = unix_ms::none;
      for (std::size_t i = 0; i < p.messages.size(); ++i) {
        CHECK(number(p.messages[i].seq) == i + 1);
        CHECK(p.messages[i].at >= at);
        at = p.messages[i].at;
        CHECK(sent.at(p.messages[i].client_id).second.seq == p.messages[i].seq);
      }
      for (const auto& m : p.marks) {
        auto& before = marks[{room, m.user}];
        CHECK(m.delivered >= before.delivered);
        CHECK(m.read >= before.read);
        CHECK(m.read <= m.delivered);
        CHECK(m.delivered <= p.last);
        before = {m.delivered, m.read};
      }
    }
  }

  /// What is stored of a conversation in an inbox is a stream without a hole, as far as it goes.
  void check_inboxes() {
    for (std::uint64_t u = 1; u <= users; ++u) {
      std::map<conversation_id, seq_no> last;
      auto pos = inbox_pos::none;
      for (const auto& row : f.inbox(user_id{u}).rows) {
        CHECK(row.pos > pos);
        pos = row.pos;
        const auto* n = std::get_if<core::message_news>(&row.what);
        if (!n)
          continue;
        const auto [i, is_first] = last.try_emplace(n->msg.conversation, n->msg.seq);
        if (!is_first) {
          CHECK(n->prev == i->second);
          i->second = n->msg.seq;
        }
      }
    }
  }
};

} // namespace

TEST_CASE("order, retries, streams and watermarks hold under reordered, repeated and retried commands") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    world w{seed};
    w.set_up();
    for (int i = 0; i < 400; ++i) {
      switch (w.pick(9)) {
      case 0:
      case 1:
        w.send();
        break;
      case 2:
        w.retry();
        break;
      case 3:
      case 4:
        w.fan_out();
        break;
      case 5:
      case 6:
        w.arrive();
        break;
      case 7:
        w.acknowledge();
        break;
      case 8:
        w.read_something();
        break;
      }
      if (i % 20 == 0) {
        w.check_conversations();
        w.check_inboxes();
      }
    }
    w.drain();
    w.check_conversations();
    w.check_inboxes();
    CHECK(w.f.debts().empty());
    for (const auto& [room, pair] : w.rooms)
      for (const auto u : {pair.first, pair.second}) {
        const auto list = w.f.read([&](auto& v) {
          return cluster::queries::list_conversations(v, {u, {}, 0});
        });
        CHECK(list.items.size() == world::users - 1);
      }

    // The same log elsewhere, on a replica that never led and lived through other restarts: the same rows.
    machine_fixture other;
    other.machine.set_leading(machine_fixture::shard, false);
    std::uint64_t index = 0;
    for (const auto& command : w.log) {
      auto txn = other.disk.begin_write();
      storage::shard_txn state{*txn, machine_fixture::shard, 0};
      CHECK_FALSE(
          other.machine.apply(state, {machine_fixture::shard, generation{1}, 1, ++index}, command, 0));
      REQUIRE(txn->commit() == ec::none);
    }
    CHECK(other.machine.take_results().empty());
    CHECK(other.disk.dump(storage::table::state) == w.f.disk.dump(storage::table::state));
  }
}
