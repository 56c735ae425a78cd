// What a replica must not apply, because it does not understand it as a whole: nothing is written,
// and why is said.
#include <doctest/doctest.h>

#include "tests/cluster/machine/machine_fixture.hpp"

using namespace parley;
using test::machine_fixture;
namespace rows = cluster::rows;

namespace {

/// The rows of a shard, by key.
using state_rows = std::map<std::string, std::string>;

struct halting : machine_fixture {
  halting() {
    open();
    REQUIRE(done(device(alice, alices)) == ec::none);
    REQUIRE(done(device(bob, bobs)) == ec::none);
    send(alice, alices, 1);
    const auto stored_row = part(bob, 0, 1, {stored(0, 1)});
    REQUIRE(deliver(stored_row).error == ec::none);
    REQUIRE(deliver(part(bob, 1, 1, {core::watermark{room, alice, seq_no{1}, {}}})).error == ec::none);
    REQUIRE(done(core::raise_watermarks{{{room, bob, seq_no{1}, {}}}}) == ec::none);
    REQUIRE(done(core::issue_code{"+491", {1}, unix_ms{1}, unix_ms{100'000}}) == ec::none);
  }
  state_rows all() {
    state_rows out;
    read([&](auto& v) {
      v.ascend({}, {}, [&](std::string_view k, std::string_view value) {
        out.emplace(k, value);
        return storage::scan::more;
      });
      return 0;
    });
    return out;
  }
  /// Why `command` cannot be applied; empty: it can. What it wrote is committed either way.
  std::string objection(std::string_view command) {
    auto txn = disk.begin_write();
    storage::shard_txn state{*txn, shard, 0};
    const auto why = machine.apply(state, {shard, generation{1}, 1, ++index}, command, index);
    CHECK(txn->commit() == ec::none);
    CHECK(machine.take_results().answers.size() == (why ? 0U : 1U));
    return why.value_or("");
  }
  std::string objection(const core::command& c) {
    return objection(core::encode_for(core::format_number::newest, c));
  }
  void put(std::string_view key, std::string_view value) {
    auto txn = disk.begin_write();
    storage::shard_txn{*txn, shard, 0}.put(key, value);
    REQUIRE(txn->commit() == ec::none);
  }
  /// Appends a field to the row under `key`, as a newer version may: `skipped` bytes stand in front of the
  /// envelope.
  void append_field(std::string_view key, std::size_t skipped = 0) {
    auto value = all().at(std::string{key});
    const auto byte = [&](std::size_t at) -> std::size_t { return static_cast<unsigned char>(value.at(at)); };
    const bool two = byte(skipped + 1) > 127; // bytes of the length
    auto length = two ? (byte(skipped + 1) & 127) | byte(skipped + 2) << 7 : byte(skipped + 1);
    const auto end = skipped + (two ? 3 : 2) + length++;
    REQUIRE((two || length < 128));
    value.insert(end, 1, 'n');
    value[skipped + 1] = static_cast<char>(two ? length | 128 : length);
    if (two)
      value[skipped + 2] = static_cast<char>(length >> 7);
    put(key, value);
  }
  /// `c` cannot be applied because of the row `row`, and leaves all rows as they are.
  void halts_at(const core::command& c, std::string_view row) {
    const auto before = all();
    const auto why = objection(c);
    CHECK(why.starts_with(row));
    CHECK(why.ends_with("newer version of this program"));
    CHECK(all() == before);
  }
};

} // namespace

TEST_CASE_FIXTURE(
    halting, "a command that is damaged, longer, of a higher version or an unknown kind is not applied") {
  const auto before = all();
  const core::command c{core::append_message{text(bob, bobs, 1, "x")}};
  CHECK(objection("\xff what?").starts_with("a command of the log"));
  CHECK(objection("").ends_with("is damaged"));

  auto bytes = core::encode_for(core::format_number::newest, c);
  REQUIRE(static_cast<unsigned char>(bytes[2]) < 127);
  ++bytes[2];
  bytes += 'n';
  CHECK(objection(bytes).ends_with("newer version of this program"));
  bytes = core::encode_for(core::format_number::newest, c);
  ++bytes[1];
  CHECK(objection(bytes).ends_with("newer version of this program"));
  bytes = core::encode_for(core::format_number::newest, c);
  bytes[0] = static_cast<char>(std::variant_size_v<core::command>);
  CHECK(objection(bytes).ends_with("newer version of this program"));
  CHECK(all() == before);
  CHECK(objection(c).empty());
}

TEST_CASE_FIXTURE(halting, "a shorter command is applied: what is missing has its default") {
  auto bytes = core::encode_for(core::format_number::newest,
                                core::command{core::advance_cursor{bob, bobs, inbox_pos{1}}});
  bytes.resize(bytes.size() - 8); // without `upto`
  bytes[2] = static_cast<char>(bytes[2] - 8);
  CHECK(objection(bytes).empty());
}

TEST_CASE_FIXTURE(halting, "a row that is longer is neither applied nor written back") {
  SUBCASE("a conversation's head") {
    append_field(rows::head_key(room));
    halts_at(core::append_message{text(bob, bobs, 1, "x")}, "a conversation's head");
    halts_at(core::raise_watermarks{{{room, bob, seq_no{1}, seq_no{1}}}}, "a conversation's head");
    halts_at(core::want_copies{{{room, alice}}}, "a conversation's head");
    halts_at(core::renew_streams{shard_id{0}, 1, 1}, "a conversation's head");
  }
  SUBCASE("what is known of rescues") {
    REQUIRE(done(core::count_rescue{1}) == ec::none);
    apply(core::renew_streams{shard_id{0}, 1, 1});
    append_field(rows::renewal_key(shard_id{0}));
    halts_at(core::renew_streams{shard_id{0}, 2, 1}, "how far streams are owed again");
    append_field(rows::rescue_key());
    restart();
    halts_at(core::append_message{text(alice, alices, 2, "x")}, "the shard's count of rescues");
    halts_at(core::count_rescue{1}, "the shard's count of rescues");
  }
  SUBCASE("a sender's head") {
    append_field(rows::sender_key(room, alices));
    halts_at(core::append_message{text(alice, alices, 2, "x")}, "a sender's head");
  }
  SUBCASE("a remembered id") {
    append_field(rows::remembered_key(room, alices, core::row_of(1)));
    halts_at(core::append_message{text(alice, alices, 1, "x")}, "a row of remembered message ids");
  }
  SUBCASE("a watermark, behind one that could be raised") {
    append_field(rows::progress_key(room, bob));
    halts_at(core::raise_watermarks{{{room, alice, seq_no{1}, {}}, {room, bob, seq_no{1}, seq_no{1}}}},
             "a member's watermark");
    halts_at(core::renew_streams{shard_id{0}, 1, 1}, "a member's watermark");
  }
  SUBCASE("an inbox's head and stream, behind a part that could be stored") {
    const auto good = part(alice, 0, 1, {stored(0, 1, bob)});
    append_field(rows::stream_key(bob, room));
    halts_at(core::append_inbox{{good, part(bob, 1, 2, {stored(1, 2)})}}, "an inbox's stream");
    append_field(rows::inbox_head_key(bob));
    halts_at(core::append_inbox{{good, part(bob, 1, 2, {stored(1, 2)})}}, "an inbox's head");
    halts_at(core::advance_cursor{bob, bobs, inbox_pos{1}}, "an inbox's head");
    halts_at(device(bob, device_id{9}), "an inbox's head");
  }
  SUBCASE("a watermark in an inbox") {
    append_field(rows::mark_key(bob, room, alice));
    halts_at(core::append_inbox{{part(bob, 1, 1, {core::watermark{room, alice, seq_no{1}, seq_no{1}}})}},
             "a watermark in an inbox");
  }
  SUBCASE("a row of an inbox") {
    append_field(rows::inbox_key(bob, inbox_pos{1}), 1);
    halts_at(core::advance_cursor{bob, bobs, inbox_pos{1}}, "a row of an inbox");
  }
  SUBCASE("an account") {
    append_field(rows::account_key(bob));
    halts_at(device(bob, device_id{9}), "an account");
  }
  SUBCASE("a phone number") {
    append_field(rows::phone_key("+491"));
    halts_at(core::redeem_code{"+491", {1}, user_id{9}, unix_ms{2}}, "the row of a phone number");
  }
  SUBCASE("the count of codes") {
    append_field(rows::code_meter_key());
    halts_at(core::issue_code{"+492", {1}, unix_ms{5000}, unix_ms{100'000}}, "the shard's count of codes");
  }
  SUBCASE("an inbox's head, for a command of its own") {
    append_field(rows::inbox_head_key(alice));
    halts_at(core::ask_copies{alice}, "an inbox's head");
  }
}

TEST_CASE_FIXTURE(halting, "readers of answers skip what a newer version appended") {
  append_field(rows::head_key(room));
  append_field(rows::message_key(room, seq_no{1}));
  append_field(rows::inbox_key(bob, inbox_pos{1}), 1);
  append_field(rows::progress_key(room, bob));
  const auto p = page(alice);
  CHECK(p.error == ec::none);
  REQUIRE(p.messages.size() == 1);
  CHECK(p.messages[0].body == "x");
  CHECK(inbox(bob).error == ec::none);
  CHECK(inbox(bob).rows.size() == 2);
}

TEST_CASE_FIXTURE(halting, "a debt with a message of a newer version is not paid with half of it") {
  append_field(rows::message_key(room, seq_no{1}));
  const auto owed = read([&](auto& v) { return cluster::queries::read_debts(v, shard, 0, 100, 1 << 20); });
  CHECK(owed.error == ec::unsupported_version);
  CHECK(owed.rows.empty());
  CHECK(read([&](auto& v) {
          return cluster::queries::read_messages(v, room, seq_no{0}, seq_no{1}, 10, 1000);
        }).empty());
}

TEST_CASE_FIXTURE(halting,
                  "a message that a debt names is the fan-out's to read: every replica applies the same") {
  send(bob, bobs, 1);
  const auto before = debts().back().number;
  append_field(rows::message_key(room, seq_no{2}));
  bool leading = true;
  SUBCASE("the leader") {
    leading = true;
  }
  SUBCASE("a follower") {
    leading = false;
  }
  machine.set_leading(shard, leading);
  CHECK(objection(core::want_copies{{{room, bob}}}).empty());
  CHECK(read([&](auto& v) {
          return cluster::queries::read_debts(v, shard, before + 1, 100, 1 << 20);
        }).error == ec::unsupported_version);
}

TEST_CASE_FIXTURE(halting, "no command is applied to a shard of a newer format") {
  put(rows::format_key(), core::encode(rows::shard_format{core::format_number::newest}));
  restart();
  CHECK(objection(core::advance_cursor{bob, bobs, inbox_pos{1}}).empty());
  put(rows::format_key(), core::encode(rows::shard_format{core::format_number{2}}));
  restart();
  CHECK(objection(core::advance_cursor{bob, bobs, inbox_pos{1}}).starts_with("the shard's format is 2"));
}
