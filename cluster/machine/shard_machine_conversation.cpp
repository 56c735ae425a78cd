#include "actors/core/calls.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "cluster/replication/planted_bugs.hpp"

namespace parley::cluster {

using detail::must;

namespace {

std::optional<rows::conversation_head> load_head(storage::shard_txn& txn, conversation_id c,
                                                 const log_position& at) {
  const auto v = txn.get(rows::head_key(c));
  if (!v)
    return std::nullopt;
  return must(rows::read<rows::conversation_head>(*v), at);
}

core::placement first_answer(conversation_id c, const core::remembered_id& known, ec error) {
  return {error, known.seq, derive_message_id(c, known.seq), known.at, 1};
}

} // namespace

// --- the debts ---------------------------------------------------------------------------------------------

std::uint64_t shard_machine::next_debt(step& s) {
  auto& next = s.memory.next_debt;
  if (!next) {
    std::uint64_t n = 1;
    if (const auto v = s.rows.get(rows::debt_end_key())) {
      reader in{*v};
      n = in.get<std::uint64_t>();
    }
    s.rows.descend(rows::row_key{'o'}, rows::row_key{'o'}.past(),
                   [&](std::string_view key, std::string_view) {
                     key_reader in{key.substr(1)};
                     n = std::max(n, in.get<std::uint64_t>() + 1);
                     return storage::scan::stop;
                   });
    next = n;
  }
  return *next;
}

void shard_machine::owe(step& s, core::owed what, std::optional<core::message> full) {
  const auto number = next_debt(s);
  s.rows.put(rows::debt_key(number), core::encode(what));
  s.memory.next_debt = number + 1;
  if (s.memory.leading)
    results_.debts.push_back({s.at.shard, number, std::move(what), std::move(full)});
}

core::outcome shard_machine::on(step& s, core::confirm_debts& c) {
  const auto next = next_debt(s);
  const auto upto = std::min(c.upto, next - 1);
  if (upto == 0)
    return core::done{};
  // Bounded by what one fan-out actor has under way.
  s.rows.erase_range(rows::debt_key(0), rows::debt_key(upto + 1), SIZE_MAX);
  // Otherwise the last row tells the next number.
  if (upto + 1 == next) {
    writer w{8};
    w.put(next);
    s.rows.put(rows::debt_end_key(), w.bytes());
  }
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
  s.rows.put(rows::head_key(c.conversation), core::encode(head));
  owe(s, core::owed_opening{{c.conversation, {c.low, c.high}, c.at},
                            {{c.low, membership, {}}, {c.high, membership, {}}}});
  return core::done{};
}

core::outcome shard_machine::on(step& s, core::append_message& c) {
  auto& m = c.what;
  const auto conversation = m.conversation;
  auto head = load_head(s.rows, conversation, s.at);
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
  const bool dedup_in_rows = !planted("dedup-only-in-memory");
  if (dedup_in_rows) {
    if (const auto v = s.rows.get(rows::sender_key(conversation, m.id.device)))
      sender = must(rows::unpack_sender(*v), s.at);
    const auto known = core::find_remembered(sender, m.id.counter, [&](std::uint8_t slot) {
      const auto v = s.rows.get(rows::remembered_key(conversation, m.id.device, slot));
      return v ? rows::unpack_remembered(*v) : std::nullopt;
    });
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

  const auto seq = guessed != 0 ? seq_no{guessed} : next(head->last);
  head->last = std::max(head->last, seq);
  head->last_at = std::max(head->last_at, m.at);
  core::message msg{conversation,     seq, derive_message_id(conversation, seq), m.from, m.id, head->last_at,
                    std::move(m.body)};
  core::owed_message debt{conversation, seq, {}};
  debt.to.reserve(head->members.size());
  for (auto& member : head->members) {
    if (member.user == m.from && m.copy_own == 0 && member.copies == 0)
      continue;
    debt.to.push_back({member.user, member.membership, member.fan_out_head});
    member.fan_out_head = seq;
  }
  s.rows.put(rows::head_key(conversation), core::encode(*head));
  s.rows.put(rows::message_key(conversation, seq), rows::pack_message(msg));

  const core::remembered_id id{m.id.counter, seq, msg.at, m.hash};
  if (dedup_in_rows) {
    const auto slot = rows::remembered_key(conversation, m.id.device, sender.next_slot());
    std::optional<std::uint64_t> forgotten;
    if (sender.full()) {
      const auto v = s.rows.get(slot);
      forgotten = must(v ? rows::unpack_remembered(*v) : std::nullopt, s.at).counter;
    }
    s.rows.put(slot, rows::pack(id));
    sender.remember(m.id.counter, forgotten);
    s.rows.put(rows::sender_key(conversation, m.id.device), rows::pack(sender));
  } else {
    s.memory.planted_ids[{conversation, m.id.device}].push_back(id);
  }

  core::placement placed{ec::none, seq, msg.id, msg.at};
  // Nobody to tell (a sender alone in its conversation): no debt.
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
  for (const auto& mark : c.marks) {
    const auto head = load_head(s.rows, mark.conversation, s.at);
    if (!head || !head->find(mark.user))
      continue;
    const auto key = rows::progress_key(mark.conversation, mark.user);
    core::progress has;
    if (const auto v = s.rows.get(key))
      has = must(rows::unpack_progress(*v), s.at);
    const auto now = core::raise(has, {mark.delivered, mark.read}, head->last);
    if (now == has)
      continue;
    s.rows.put(key, rows::pack(now));
    core::owed_receipt debt{{mark.conversation, mark.user, now.delivered, now.read}, {}};
    for (const auto& member : head->members) {
      // What one device read, the reader's other devices want to know; what was delivered to one, they don't.
      if (member.user == mark.user && now.read == has.read)
        continue;
      debt.to.push_back({member.user, member.membership, member.fan_out_head});
    }
    if (!debt.to.empty())
      owe(s, std::move(debt));
  }
  return core::done{};
}

// A second device has to get what the first sends, from the moment on at which it was registered. The session
// that sends learns of it too late to be relied on, and a conversation lives on another shard than its
// members' accounts. So:
//
//   put_device (user's shard) ── owed_copies ──► want_copies (conversation's shard)   for each conversation
//   append_inbox that leaves out seqs ── gap ──► fan-out repairs from the log         once there are two devices
//
// What was sent in between, and not copied, lies behind the last seq that the stream was told (then this owes
// the newest, which the inbox refuses as a gap), or before another member's message (which the inbox refuses
// likewise).
core::outcome shard_machine::on(step& s, core::want_copies& c) {
  for (const auto& who : c.of) {
    auto head = load_head(s.rows, who.conversation, s.at);
    auto* member = head ? head->find(who.user) : nullptr;
    if (!member || member->copies != 0)
      continue;
    member->copies = 1;
    if (member->fan_out_head < head->last) {
      std::optional<core::message> newest;
      if (s.memory.leading) {
        const auto v = s.rows.get(rows::message_key(who.conversation, head->last));
        newest = must(v ? rows::unpack_message(who.conversation, head->last, *v) : std::nullopt, s.at);
      }
      owe(s,
          core::owed_message{
              who.conversation, head->last, {{who.user, member->membership, member->fan_out_head}}},
          std::move(newest));
      member->fan_out_head = head->last;
    }
    s.rows.put(rows::head_key(who.conversation), core::encode(*head));
  }
  return core::done{};
}

} // namespace parley::cluster
