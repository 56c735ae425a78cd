#include "actors/core/calls.hpp"
#include "actors/core/rescue_numbers.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "protocol/values/planted_bugs.hpp"

namespace parley::cluster {

using detail::load;
using detail::must;

namespace {

template <class Rows>
std::optional<rows::conversation_head> load_head(Rows& rows, conversation_id c) {
  return load<rows::conversation_head>(rows, rows::head_key(c), "a conversation's head");
}

core::placement first_answer(conversation_id c, const core::remembered_id& known, ec error) {
  return {error, known.seq, derive_message_id(c, known.seq), known.at, 1};
}

} // namespace

// --- the debts ---------------------------------------------------------------------------------------------

std::uint64_t shard_machine::next_debt(step& s) {
  auto& next = s.memory.next_debt;
  if (!next) {
    auto n = load<rows::debt_end>(s.rows, rows::debt_end_key(), "the debts' last number")
                 .value_or(rows::debt_end{})
                 .next;
    s.rows.descend(rows::row_key{'o'}, rows::row_key{'o'}.past(),
                   [&](std::string_view key, std::string_view) {
                     n = std::max(n, rows::parse_debt_key(key) + 1);
                     return storage::scan::stop;
                   });
    next = n;
  }
  return *next;
}

void shard_machine::owe(step& s, core::owed what, std::optional<core::message> full) {
  const auto number = next_debt(s);
  s.rows.put(rows::debt_key(number), what);
  s.memory.next_debt = number + 1;
  if (s.memory.leading)
    results_.debts.push_back({s.at.shard, number, std::move(what), std::move(full)});
}

core::outcome shard_machine::on(step& s, core::confirm_debts& c) {
  const auto next = next_debt(s);
  std::uint64_t last = 0;
  // Bounded, because a fan-out actor forgets a bounded number at a time (forget_config).
  const auto forget = [&](std::uint64_t from, std::uint64_t upto) {
    upto = std::min(upto, next - 1);
    if (upto == 0 || from > upto)
      return;
    s.rows.erase_range(rows::debt_key(from), rows::debt_key(upto + 1), SIZE_MAX);
    last = std::max(last, upto);
  };
  forget(0, c.upto);
  for (const auto& r : c.beyond)
    forget(r.from, r.upto);
  // Otherwise the next number follows from the last row.
  if (last + 1 == next && last != 0)
    s.rows.put(rows::debt_end_key(), rows::debt_end{next});
  return core::done{};
}

// --- conversations -----------------------------------------------------------------------------------------

core::outcome shard_machine::on(step& s, core::open_direct& c) {
  if (c.low >= c.high || c.conversation != core::direct_conversation(c.low, c.high))
    return core::done{ec::bad_request};
  if (s.rows.get(rows::head_key(c.conversation)))
    return core::done{};
  constexpr std::uint64_t membership = 1; // began before the first message
  rows::conversation_head head;
  head.last_at = c.at;
  head.members = {{c.low, membership}, {c.high, membership}};
  s.rows.put(rows::head_key(c.conversation), head);
  owe(s, core::owed_opening{{c.conversation, {c.low, c.high}, c.at},
                            {{c.low, membership, {}}, {c.high, membership, {}}}});
  return core::done{};
}

core::outcome shard_machine::on(step& s, core::append_message& c) {
  auto& m = c.what;
  const auto conversation = m.conversation;
  auto head = load_head(s.rows, conversation);
  if (!head)
    return core::placement{ec::no_such_conversation};

  // Planted: the number is the proposer's guess, made before it is known whether the message is new.
  std::uint64_t guessed = 0;
  if (planted("seq-by-actor")) {
    auto& n = s.memory.planted_seqs.try_emplace(conversation, number(head->last)).first->second;
    guessed = ++n;
  }

  // dedup, before anything that may have changed since the first try
  core::sender_head sender;
  core::remembered_ids ids;
  const auto ids_key = rows::remembered_key(conversation, m.id.device, core::row_of(m.id.counter));
  const bool dedup_in_rows = !planted("dedup-only-in-memory");
  if (dedup_in_rows) {
    sender = load<core::sender_head>(s.rows, rows::sender_key(conversation, m.id.device), "a sender's head")
                 .value_or(core::sender_head{});
    ids = load<core::remembered_ids>(s.rows, ids_key, "a row of remembered message ids")
              .value_or(core::remembered_ids{});
    const auto* known = core::find_remembered(ids, m.id.counter);
    switch (core::judge_retry(sender, m.id.counter, m.hash, known)) {
    case core::retry_verdict::fresh:
      break;
    case core::retry_verdict::repeat:
      return first_answer(conversation, *known, ec::none);
    case core::retry_verdict::conflict:
      return first_answer(conversation, *known, ec::conflict);
    case core::retry_verdict::too_old:
      return core::placement{ec::retry_too_old};
    }
  } else if (auto first = planted_retry(s, m)) {
    return *first;
  }

  if (!head->find(m.from))
    return core::placement{ec::not_a_member};
  if (m.body.size() > limits_.body_bytes_max)
    return core::placement{ec::too_large};

  const auto seq =
      guessed != 0 ? seq_no{guessed} : seq_no{core::number_after(number(head->last), rescues(s))};
  // An inbox sees that it lacks a message by the numbers, and cannot see it behind a jump of them. So the first message
  // after a rescue names what it follows to everybody, also to members who were not told of it (their own messages).
  const auto follows_jump = seq > next(head->last) ? std::optional{head->last} : std::nullopt;
  head->last = std::max(head->last, seq);
  head->last_at = std::max(head->last_at, m.at);
  core::message msg{conversation,     seq, derive_message_id(conversation, seq), m.from, m.id, head->last_at,
                    std::move(m.body)};
  core::owed_message debt{conversation, seq, {}};
  debt.to.reserve(head->members.size());
  for (auto& member : head->members) {
    if (member.user == m.from && m.copy_own == 0 && member.copies == 0)
      continue;
    debt.to.push_back({member.user, member.membership, follows_jump.value_or(member.fan_out_head)});
    member.fan_out_head = seq;
  }
  s.rows.put(rows::head_key(conversation), *head);
  s.rows.put(rows::message_key(conversation, seq), msg);

  const core::remembered_id id{m.id.counter, seq, msg.at, m.hash};
  if (dedup_in_rows) {
    core::remember(sender, ids, id);
    s.rows.put(ids_key, ids);
    s.rows.put(rows::sender_key(conversation, m.id.device), sender);
  } else {
    s.memory.planted_ids[{conversation, m.id.device}].push_back(id);
  }

  core::placement placed{ec::none, seq, msg.id, msg.at};
  // No other member has to be informed (a sender alone in its conversation), so there is no debt.
  if (!debt.to.empty())
    owe(s, std::move(debt), s.memory.leading ? std::optional{std::move(msg)} : std::nullopt);
  return placed;
}

std::optional<core::placement> shard_machine::planted_retry(step& s, const core::submission& m) {
  for (const auto& known : s.memory.planted_ids[{m.conversation, m.id.device}])
    if (known.counter == m.id.counter)
      return first_answer(m.conversation, known, known.hash == m.hash ? ec::none : ec::conflict);
  return std::nullopt;
}

core::outcome shard_machine::on(step& s, core::raise_watermarks& c) {
  std::map<conversation_id, std::optional<rows::conversation_head>> heads;
  std::map<std::pair<conversation_id, user_id>, core::progress> reached;
  for (const auto& mark : c.marks) {
    const auto [head, is_new] = heads.try_emplace(mark.conversation);
    if (is_new)
      head->second = load_head(s.rows, mark.conversation);
    const auto [has, unknown] = reached.try_emplace({mark.conversation, mark.user});
    if (unknown)
      has->second = load<core::progress>(s.rows, rows::progress_key(mark.conversation, mark.user),
                                         "a member's watermark")
                        .value_or(core::progress{});
  }
  for (const auto& mark : c.marks) {
    const auto& head = heads[mark.conversation];
    if (!head || !head->find(mark.user))
      continue;
    auto& has = reached[{mark.conversation, mark.user}];
    const auto now = core::raise(has, {mark.delivered, mark.read}, head->last);
    if (now == has)
      continue;
    const auto before = std::exchange(has, now);
    s.rows.put(rows::progress_key(mark.conversation, mark.user), now);
    core::owed_receipt debt{{mark.conversation, mark.user, now.delivered, now.read}, {}};
    for (const auto& member : head->members) {
      // The reader's other devices need to know what was read on one of them, but not what
      // was delivered to it.
      if (member.user == mark.user && now.read == before.read)
        continue;
      debt.to.push_back({member.user, member.membership, member.fan_out_head});
    }
    if (!debt.to.empty())
      owe(s, std::move(debt));
  }
  return core::done{};
}

// A second device has to get what the first one sends, from the moment of its registration on. The
// sending session may learn of it too late, and a conversation is on another shard than the accounts
// of its members. So:
//
//   put_device (user's shard) ── owed_copies ──► want_copies (conversation's shard)   for each conversation
//   append_inbox that leaves out seqs ── gap ──► fan-out repairs from the log         once there are two devices
//
// There are two cases of messages that were sent before copying began. If they come after the last seq that
// this stream has seen, we owe the newest message: the inbox reports a gap, and fan-out fills it from the
// log. If another member's message follows them, that message reports the gap in the same way.
//
// The newest message is not read here, although its debt names it: what a debt names is the fan-out's to read,
// on the node that leads (docs/formats.md). A replica that cannot read it applies the command like all others.
core::outcome shard_machine::on(step& s, core::want_copies& c) {
  std::map<conversation_id, std::optional<rows::conversation_head>> heads;
  for (const auto& who : c.of) {
    const auto [head, is_new] = heads.try_emplace(who.conversation);
    if (is_new)
      head->second = load_head(s.rows, who.conversation);
  }
  for (const auto& who : c.of) {
    auto& head = heads[who.conversation];
    auto* member = head ? head->find(who.user) : nullptr;
    if (!member || member->copies != 0)
      continue;
    member->copies = 1;
    if (member->fan_out_head < head->last) {
      // Behind what has the number before it, whether the member was told of that or not: of a first message after a
      // rescue the numbers would not show what is left out.
      const seq_no before{number(head->last) - 1};
      owe(s, core::owed_message{who.conversation, head->last, {{who.user, member->membership, before}}});
      member->fan_out_head = head->last;
    }
    s.rows.put(rows::head_key(who.conversation), *head);
  }
  return core::done{};
}

} // namespace parley::cluster
