#pragma once
// Debts of one conversation, and what a ledger is sent and answers.
#include "actors/core/debt_ledger.hpp"

namespace parley::test {

using namespace core;

inline const conversation_id room{1, 2};
inline const debt_ledger::time_point t0{};
inline const debt_ledger::history no_log = [](conversation_id, seq_no, seq_no) {
  return std::vector<core::message>{};
};

inline core::message text(std::uint64_t seq, user_id from = user_id{1}) {
  return {room, seq_no{seq}, {}, from, {}, {}, "body"};
}
inline incurred owed_text(std::uint64_t number, std::uint64_t seq, user_id to = user_id{2}) {
  return {shard_id{0}, number, owed_message{room, seq_no{seq}, {{to, 1, seq_no{seq - 1}}}}, text(seq)};
}
inline outcome outcomes(std::vector<inbox_outcome> parts) {
  return inbox_outcomes{std::move(parts)};
}
inline ledger_config small(std::size_t debts_max) {
  ledger_config c;
  c.shards = 4;
  c.debts_max = debts_max;
  c.ahead_max = debts_max / 10;
  c.parts_max = 100;
  c.probes_max = 2;
  return c;
}
inline debt_ledger ready_ledger(std::size_t debts_max = 100) {
  debt_ledger l{small(debts_max)};
  l.loaded(0); // the stored debts were read: there are none
  return l;
}
template <class Command>
Command sent(const debt_ledger::call_out& c) {
  return std::get<Command>(decode<command>(c.what.command).value());
}
inline append_inbox appends(const debt_ledger::call_out& c) {
  return sent<append_inbox>(c);
}

} // namespace parley::test
