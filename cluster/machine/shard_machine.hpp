#pragma once
// What Raft applies: a shard's conversations, inboxes and accounts, as rows (shard_rows.hpp).
//
// Decisions are made in actors/core (dedup window, inbox cover, watermarks, phone claims); this machine reads
// and writes their rows. Every replica applies the same commands to the same rows and must get the same
// result: no clock, no random numbers, no order of a hash table. A command or a row that this program does
// not understand as a whole (it is damaged, or a newer version wrote it) halts this replica: going on would
// make it another one than its peers. Handlers read all rows that they need before they write the first, so
// that a halted replica is as it was before the command, and a newer program can go on from there. The node
// stops only if a row turns out to be unreadable after the command has written.
//
// Owns:   the results of applied commands for the leader's actors, until `take_results`.
//         Per shard: the number of the next debt, and what else follows from rows: it saves look-ups per message.
// Thread: the store's.
// Holds:  an answer, debt or arrival is taken after the turn's `write`, so its command is on the disks of a
//         majority.
//         A transaction that fails to commit ends the process, so memory is never newer than the rows.
#include "actors/core/commands.hpp"
#include "actors/core/dedup_window.hpp"
#include "actors/core/limits.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "cluster/replication/replication.hpp"

#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::cluster {

namespace detail {

/// The shard's rows while one command is applied: writes them in the shard's format, and remembers whether
/// the command has written.
class written_rows {
public:
  explicit written_rows(storage::shard_txn& txn) : txn_{txn} {}
  std::optional<std::string_view> get(std::string_view key) { return txn_.get(key); }
  void ascend(std::string_view from, std::string_view to, const storage::visitor& visit) {
    txn_.ascend(from, to, visit);
  }
  void descend(std::string_view from, std::string_view to, const storage::visitor& visit) {
    txn_.descend(from, to, visit);
  }
  template <class T>
  void put(std::string_view key, const T& row) {
    put_packed(key, rows::pack(format_, row));
  }
  void put(std::string_view key, const core::message& x) { put_packed(key, rows::pack_message(format_, x)); }
  void put(std::string_view key, const core::news& x) { put_packed(key, rows::pack_news(format_, x)); }
  void erase(std::string_view key) {
    wrote_ = true;
    txn_.erase(key);
  }
  std::size_t erase_range(std::string_view from, std::string_view to, std::size_t rows_max) {
    wrote_ = true;
    return txn_.erase_range(from, to, rows_max);
  }
  bool wrote() const { return wrote_; }
  /// Rows are written in this format, which is the shard's.
  void set_format(core::format_number f) { format_ = f; }

private:
  void put_packed(std::string_view key, std::string_view value) {
    wrote_ = true;
    txn_.put(key, value);
  }

  storage::shard_txn& txn_;
  core::format_number format_ = core::format_number::oldest;
  bool wrote_ = false;
};

} // namespace detail

class shard_machine final : public state_machine {
public:
  /// `answers`: of commands proposed here (ticket != 0). The others: of shards led here, whoever proposed.
  struct results {
    std::vector<core::applied> answers;
    std::vector<core::incurred> debts;
    std::vector<core::arrived> arrivals;
    bool empty() const { return answers.empty() && debts.empty() && arrivals.empty(); }
  };

  explicit shard_machine(core::limits limits = {}) : limits_{limits} {}

  std::optional<std::string> apply(storage::shard_txn& state, const log_position& at,
                                   std::string_view command, std::uint64_t ticket) override;
  void replaced(shard_id shard) override;

  /// Whether to build debts and arrivals. What was incurred before is stored: replay it on taking over.
  void set_leading(shard_id shard, bool leading);
  results take_results() { return std::exchange(results_, {}); }

private:
  struct shard_memory {
    bool leading = false;
    std::optional<std::uint64_t> next_debt;
    std::optional<core::format_number> format;
    std::optional<std::uint64_t> rescues;
    // Only planted bugs use these: state that a correct machine must not keep.
    std::map<std::pair<conversation_id, device_id>, std::vector<core::remembered_id>> planted_ids;
    std::map<conversation_id, std::uint64_t> planted_seqs;
  };
  /// One command while it is applied.
  struct step {
    detail::written_rows rows;
    const log_position& at;
    shard_memory& memory;
  };

  /// The one place that asks which format the shard's commands and rows have. What is put afterwards is
  /// written in it.
  void check_format(step&);

  // shard_machine_conversation.cpp
  core::outcome on(step&, core::open_direct& c);
  core::outcome on(step&, core::append_message& c);
  core::outcome on(step&, core::raise_watermarks& c);
  core::outcome on(step&, core::want_copies& c);
  core::outcome on(step&, core::confirm_debts& c);
  std::optional<core::placement> planted_retry(step&, const core::submission& s);
  void owe(step&, core::owed what, std::optional<core::message> full = std::nullopt);
  std::uint64_t next_debt(step&);

  // shard_machine_inbox.cpp
  core::outcome on(step&, core::append_inbox& c);
  core::outcome on(step&, core::advance_cursor& c);

  // shard_machine_rescue.cpp
  /// How often the shard was rescued: what it numbers goes on behind that (actors/core/rescue_numbers.hpp).
  std::uint64_t rescues(step&);
  core::outcome on(step&, core::count_rescue& c);
  core::outcome on(step&, core::renew_streams& c);

  // shard_machine_account.cpp
  core::outcome on(step&, core::issue_code& c);
  core::outcome on(step&, core::redeem_code& c);
  core::outcome on(step&, core::settle_code& c);
  core::outcome on(step&, core::put_device& c);
  core::outcome on(step&, core::ask_copies& c);
  /// Phone numbers of which nothing matters any more, of the few behind `from`, which then names the last of these.
  std::vector<std::string> forgotten_numbers(step&, std::string& from, unix_ms now) const;
  /// From `copies_next` on, which is there.
  std::vector<core::owed_copies> next_copies(step&, user_id user, rows::inbox_head& head) const;
  core::outcome on(step&, core::put_node& c);

  core::limits limits_;
  std::unordered_map<std::uint16_t, shard_memory> shards_;
  results results_;
};

namespace detail {

/// Why a command cannot be applied. Thrown by handlers, caught by `shard_machine::apply`.
struct cannot_apply {
  std::string why; ///< never a body, a phone or a key
};

/// A row that is there must be understood as a whole. `row` says which one it is, for the operator.
template <class T>
T must(core::decoded<T> x, std::string_view row) {
  if (!x.it)
    throw cannot_apply{std::string{row}.append(" ").append(core::describe(x.why))};
  return std::move(*x.it);
}
/// The row under `key`, or nothing.
template <class T, class Rows>
std::optional<T> load(Rows& rows, std::string_view key, std::string_view row) {
  const auto v = rows.get(key);
  return v ? std::optional{must(rows::read_whole<T>(*v), row)} : std::nullopt;
}

} // namespace detail
} // namespace parley::cluster
