#pragma once
// One replica of a shard on a virtual disk: commands in, outcomes and rows out.
#include "actors/core/calls.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_queries.hpp"
#include "tests/support/virtual_environment.hpp"

#include <map>
#include <string>
#include <utility>

namespace parley::test {

/// Counts the rows that are read through a transaction.
class counted_txn final : public storage::write_txn {
public:
  counted_txn(storage::write_txn& txn, std::size_t& rows_read) : txn_{txn}, rows_read_{rows_read} {}
  std::optional<std::string_view> get(storage::table t, std::string_view key) override {
    ++rows_read_;
    return txn_.get(t, key);
  }
  void ascend(storage::table t, std::string_view from, std::string_view to,
              const storage::visitor& visit) override {
    txn_.ascend(t, from, to, counted(visit));
  }
  void descend(storage::table t, std::string_view from, std::string_view to,
               const storage::visitor& visit) override {
    txn_.descend(t, from, to, counted(visit));
  }
  ec status() const override { return txn_.status(); }
  void put(storage::table t, std::string_view key, std::string_view value) override {
    txn_.put(t, key, value);
  }
  void append(storage::table t, std::string_view key, std::string_view value) override {
    txn_.append(t, key, value);
  }
  void erase(storage::table t, std::string_view key) override { txn_.erase(t, key); }
  std::size_t erase_range(storage::table t, std::string_view from, std::string_view to,
                          std::size_t rows_max) override {
    return txn_.erase_range(t, from, to, rows_max);
  }
  ec commit(storage::durable when) override { return txn_.commit(when); }

private:
  storage::visitor counted(const storage::visitor& visit) {
    return [this, &visit](std::string_view key, std::string_view value) {
      ++rows_read_;
      return visit(key, value);
    };
  }
  storage::write_txn& txn_;
  std::size_t& rows_read_;
};

struct machine_fixture {
  static constexpr shard_id shard{3};
  static constexpr user_id alice{10}, bob{20}, carol{30};
  static constexpr device_id alices{101}, alices_tablet{102}, bobs{201};
  const conversation_id room = core::direct_conversation(alice, bob);

  virtual_environment disk;
  cluster::shard_machine machine;
  cluster::shard_machine::results news; ///< of the last command
  std::uint64_t index = 0;
  std::size_t rows_read = 0; ///< by the last command

  explicit machine_fixture(core::limits l = {}) : machine{l} { machine.set_leading(shard, true); }

  core::outcome apply(const core::command& c, shard_id where = shard) {
    auto txn = disk.begin_write();
    rows_read = 0;
    counted_txn counted{*txn, rows_read};
    storage::shard_txn state{counted, where, 0};
    ++index;
    CHECK_FALSE(machine.apply(state, {where, generation{1}, 1, index},
                              core::encode_for(core::format_number::newest, c), index));
    CHECK(txn->commit() == ec::none);
    news = machine.take_results();
    REQUIRE(news.answers.size() == 1);
    CHECK(news.answers[0].ticket == index);
    return news.answers[0].what;
  }
  ec done(const core::command& c, shard_id where = shard) {
    const auto out = apply(c, where);
    const auto* issued = std::get_if<core::code_issued>(&out);
    return issued ? issued->error : std::get<core::done>(out).error;
  }

  /// The process died and came back: rows only.
  void restart() {
    machine = cluster::shard_machine{};
    machine.set_leading(shard, true);
  }

  template <class F>
  auto read(F&& f) {
    auto txn = disk.begin_read();
    storage::shard_view view{*txn, shard, 0};
    return f(view);
  }

  // --- conversations ---------------------------------------------------------------------------------------
  core::open_direct opening(user_id a, user_id b) const {
    return {core::direct_conversation(a, b), std::min(a, b), std::max(a, b), unix_ms{1000}};
  }
  void open() { REQUIRE(done(opening(alice, bob)) == ec::none); }

  core::submission text(user_id from, device_id device, std::uint64_t counter, std::string body) const {
    core::submission s;
    s.conversation = room;
    s.from = from;
    s.id = {device, counter};
    s.hash = hash(body);
    s.at = unix_ms{2000};
    s.body = std::move(body);
    return s;
  }
  core::placement send(core::submission s) {
    return std::get<core::placement>(apply(core::append_message{std::move(s)}));
  }
  core::placement send(user_id from, device_id device, std::uint64_t counter, std::string body = "x") {
    return send(text(from, device, counter, std::move(body)));
  }
  /// Tells bodies apart, which is all that is asked of it here.
  static body_hash hash(std::string_view body) {
    body_hash h{};
    std::uint64_t x = body.size();
    for (char c : body)
      x = mix64(x ^ static_cast<std::uint8_t>(c));
    for (std::size_t i = 0; i < 8; ++i)
      h[i] = static_cast<std::uint8_t>(x >> (8 * i));
    return h;
  }
  std::vector<core::incurred> debts(std::uint64_t from = 0) {
    return read([&](auto& v) {
      auto page = cluster::queries::read_debts(v, shard, from, 10'000, 1 << 30);
      CHECK(page.error == ec::none);
      return std::move(page.rows);
    });
  }
  core::conversation_page page(user_id by, std::uint64_t after = 0, std::uint32_t limit = 0) {
    return read([&](auto& v) {
      return cluster::queries::read_conversation(v, {room, by, seq_no{after}, limit});
    });
  }

  // --- inboxes ---------------------------------------------------------------------------------------------
  core::message_news stored(std::uint64_t prev, std::uint64_t seq, user_id from = alice,
                            std::string body = "x") {
    return {seq_no{prev},
            {room, seq_no{seq}, derive_message_id(room, seq_no{seq}), from, {alices, seq}, unix_ms{5}, body}};
  }
  core::inbox_append part(user_id to, std::uint64_t prev, std::uint64_t upto, std::vector<core::news> items,
                          std::uint64_t membership = 1) const {
    return {to, room, membership, seq_no{prev}, seq_no{upto}, std::move(items)};
  }
  core::inbox_outcome deliver(core::inbox_append p) {
    auto parts = std::get<core::inbox_outcomes>(apply(core::append_inbox{{std::move(p)}})).parts;
    REQUIRE(parts.size() == 1);
    return parts[0];
  }
  core::inbox_page inbox(user_id user, std::uint64_t after = 0, std::uint32_t limit = 0) {
    return read([&](auto& v) {
      return cluster::queries::read_inbox(v, {user, {}, inbox_pos{after}, limit, 0, {}});
    });
  }
  core::advanced advance(user_id user, device_id device, std::uint64_t upto) {
    return std::get<core::advanced>(apply(core::advance_cursor{user, device, inbox_pos{upto}}));
  }
  ec acknowledge(user_id user, device_id device, std::uint64_t upto) {
    return advance(user, device, upto).error;
  }

  // --- accounts --------------------------------------------------------------------------------------------
  core::put_device device(user_id user, device_id id, std::uint8_t key = 1) const {
    return {user, "+4917012345", {id, {key}, "phone", unix_ms{1}}};
  }
};

} // namespace parley::test
