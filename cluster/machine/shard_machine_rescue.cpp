// What follows when a shard went on with one survivor (docs/decisions/0049).
//
//   count_rescue (rescued shard) ── owed_renewal ──► renew_streams (each other shard), until it has no more
//   renew_streams ── owed_opening, owed_receipt ──► append_inbox (rescued shard) ── gap ──► repair from the log
//
// An inbox of the rescued shard may lack what it had confirmed, so that nobody owes it any more.
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_rows.hpp"

#include <algorithm>

namespace parley::cluster {

using detail::load;

std::uint64_t shard_machine::rescues(step& s) {
  auto& known = s.memory.rescues;
  if (!known)
    known = load<rows::rescue_count>(s.rows, rows::rescue_key(), "the shard's count of rescues")
                .value_or(rows::rescue_count{})
                .count;
  return *known;
}

core::outcome shard_machine::on(step& s, core::count_rescue& c) {
  const rows::rescue_count now{rescues(s) + 1};
  s.rows.put(rows::rescue_key(), now);
  s.memory.rescues = now.count;
  for (std::uint16_t other = 0; other < c.shards; ++other)
    if (shard_id{other} != s.at.shard)
      owe(s, core::owed_renewal{shard_id{other}, s.at.shard, now.count, c.shards});
  return core::done{};
}

// The receipts name the end of the stream, so an inbox that lacks any of it reports a gap, and the fan-out fills it from
// the log. One that has everything takes them, and the opening, for repeats: each is what `raise_watermarks` told it, or
// less.
//
// All conversations at once would put this shard's news behind hundreds of thousands of debts. So a command that finds the
// last of the debts of the commands before it still owed does nothing. One shard is sent its debts in their order, so then
// the others are delivered as well; and they concern the rescued shard only, so no other one can hold them up.
core::outcome shard_machine::on(step& s, core::renew_streams& c) {
  if (c.shards == 0 || c.of == s.at.shard)
    return core::streams_renewed{ec::bad_request};
  auto row = load<rows::renewal>(s.rows, rows::renewal_key(c.of), "how far streams are owed again")
                 .value_or(rows::renewal{});
  if (c.rescues > row.rescues)
    row = {c.rescues};
  if (c.rescues < row.rescues || !row.next)
    return core::streams_renewed{};
  if (row.ahead >= limits_.renewed_ahead_max) {
    bool owed = false;
    s.rows.ascend(rows::debt_key(row.first_debt), rows::debt_key(row.end_of_debts),
                  [&](std::string_view, std::string_view) {
                    owed = true;
                    return storage::scan::stop;
                  });
    if (owed)
      return core::streams_renewed{ec::none, core::streams_renewed::later};
    row.ahead = 0;
  }

  struct found {
    conversation_id conversation;
    rows::conversation_head head;
    std::vector<core::watermark> marks;
  };
  std::vector<found> all;
  const auto is_there = [&](const rows::conversation_member& m) {
    return home_shard(m.user, c.shards) == c.of;
  };
  auto from = rows::conversation_rows(*row.next);
  for (std::size_t looked_at = 0;; ++looked_at) {
    row.next.reset();
    s.rows.ascend(from, rows::row_key{'c'}.past(), [&](std::string_view key, std::string_view) {
      row.next = rows::parse_conversation_key(key);
      return storage::scan::stop;
    });
    if (!row.next || looked_at == limits_.renewed_max)
      break;
    const auto conversation = *row.next;
    from = rows::conversation_rows(conversation).past();
    auto head = load<rows::conversation_head>(s.rows, rows::head_key(conversation), "a conversation's head");
    if (!head || std::none_of(head->members.begin(), head->members.end(), is_there))
      continue;
    found one{conversation, std::move(*head), {}};
    for (const auto& m : one.head.members) {
      const auto at =
          load<core::progress>(s.rows, rows::progress_key(conversation, m.user), "a member's watermark")
              .value_or(core::progress{});
      one.marks.push_back({conversation, m.user, at.delivered, at.read});
    }
    all.push_back(std::move(one));
  }

  const auto first_debt = next_debt(s);
  for (const auto& [conversation, head, marks] : all) {
    core::owed_opening opening{{conversation, {}, head.last_at}, {}};
    std::vector<core::fan_out_target> ends;
    for (const auto& m : head.members) {
      opening.what.members.push_back(m.user);
      if (!is_there(m))
        continue;
      opening.to.push_back({m.user, m.membership, core::before_membership(m.membership)});
      ends.push_back({m.user, m.membership, m.fan_out_head});
    }
    owe(s, std::move(opening));
    for (const auto& mark : marks) {
      core::owed_receipt others{mark, {}}, own{{conversation, mark.user, {}, mark.read}, {}};
      for (const auto& end : ends)
        (end.user == mark.user ? own : others).to.push_back(end);
      if (!others.to.empty())
        owe(s, std::move(others));
      // A user is not told what was delivered to it, and what others reached names the end of its stream.
      if (!own.to.empty() && (mark.read != seq_no{} || marks.size() == 1))
        owe(s, std::move(own));
    }
  }
  if (const auto end = next_debt(s); end != first_debt) {
    ++row.ahead;
    row.first_debt = first_debt;
    row.end_of_debts = end;
  }
  s.rows.put(rows::renewal_key(c.of), row);
  using renewed = core::streams_renewed;
  return renewed{ec::none, row.next ? renewed::at_once : renewed::nothing};
}

} // namespace parley::cluster
