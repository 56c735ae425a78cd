#include "actors/core/rescue_numbers.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster {

using detail::load;
using detail::must;

namespace {

/// The inboxes one `append_inbox` touches. Several parts often go to one user, and to one conversation of
/// theirs: each row is read once and written once.
class open_inboxes {
public:
  struct inbox {
    rows::inbox_head head;
    std::map<conversation_id, rows::inbox_stream> streams;
    std::map<std::pair<conversation_id, user_id>, rows::inbox_mark> marks;
    std::vector<core::inbox_row> added;
  };

  explicit open_inboxes(detail::written_rows& rows) : rows_{rows} {}

  inbox& get(user_id u) {
    auto [i, is_new] = inboxes_.try_emplace(u);
    if (is_new)
      i->second.head = load<rows::inbox_head>(rows_, rows::inbox_head_key(u), "an inbox's head")
                           .value_or(rows::inbox_head{});
    return i->second;
  }
  rows::inbox_stream& stream(user_id u, inbox& in, conversation_id c) {
    auto [i, is_new] = in.streams.try_emplace(c);
    if (is_new)
      i->second = load<rows::inbox_stream>(rows_, rows::stream_key(u, c), "an inbox's stream")
                      .value_or(rows::inbox_stream{});
    return i->second;
  }
  /// The watermark of `of`, as this inbox knows it.
  rows::inbox_mark& mark(user_id u, inbox& in, conversation_id c, user_id of) {
    auto [i, is_new] = in.marks.try_emplace({c, of});
    if (is_new)
      i->second = load<rows::inbox_mark>(rows_, rows::mark_key(u, c, of), "a watermark in an inbox")
                      .value_or(rows::inbox_mark{});
    return i->second;
  }
  /// Reads all that `part` may change.
  void open(const core::inbox_append& part) {
    auto& in = get(part.user);
    stream(part.user, in, part.conversation);
    for (const auto& item : part.items)
      std::visit(overloaded{
                     [](const core::message_news&) {},
                     [](const core::opened_news&) {},
                     [&](const core::watermark& w) { mark(part.user, in, part.conversation, w.user); },
                     [](const core::device_added&) {},
                 },
                 item);
  }

  std::map<user_id, inbox>& all() { return inboxes_; }

private:
  detail::written_rows& rows_;
  std::map<user_id, inbox> inboxes_;
};

/// The delivered watermark of a user is the highest of its devices. So of what a device acknowledges from `acknowledged`
/// on, others have reported what is not behind the position that this returns. A device that was added later has reported
/// nothing up to where it began, and the rows before it may be on no device. What is told again changes nothing.
inbox_pos told_upto(const rows::inbox_head& head, inbox_pos acknowledged) {
  auto told = acknowledged;
  for (const auto& d : head.devices) // in the order in which they were added, so one pass is enough
    if (head.begin_of(d.device) <= told || planted("begin-counts-as-told"))
      told = std::max(told, d.acknowledged);
  return told;
}

} // namespace

core::outcome shard_machine::on(step& s, core::append_inbox& c) {
  open_inboxes inboxes{s.rows};
  for (const auto& part : c.parts)
    inboxes.open(part);
  std::map<std::pair<user_id, conversation_id>, bool> touched;
  core::inbox_outcomes out;
  out.parts.reserve(c.parts.size());

  for (auto& part : c.parts) {
    auto& inbox = inboxes.get(part.user);
    auto& stream = inboxes.stream(part.user, inbox, part.conversation);
    using kind = core::cover_verdict::kind;
    auto verdict = core::cover({stream.membership, stream.covered}, part);
    if (verdict.what == kind::gap && planted("inbox-accepts-gap"))
      verdict = {kind::accept, stream.covered, {part.membership, part.upto}};
    if (verdict.what == kind::gap && part.membership > stream.membership && planted("first-append-anywhere"))
      verdict = {kind::accept, part.prev, {part.membership, part.upto}};
    const bool several_devices = inbox.head.devices.size() > 1;
    if (verdict.what == kind::accept && several_devices && !core::leaves_nothing_out(part, verdict.above) &&
        !planted("inbox-accepts-gap"))
      verdict.what = kind::gap; // the other devices do not know what one of them sent
    switch (verdict.what) {
    case kind::malformed:
      out.parts.push_back({ec::bad_request, verdict.above});
      continue;
    case kind::stale:
      out.parts.push_back({ec::stale, verdict.above});
      continue;
    case kind::gap:
      out.parts.push_back({ec::gap, verdict.above});
      continue;
    case kind::repeat:
    case kind::accept:
      break;
    }
    bool& changed = touched[{part.user, part.conversation}];
    if (verdict.what == kind::accept) {
      if (stream.membership == 0 && several_devices)
        owe(s, core::owed_copies{{part.conversation, part.user}});
      stream.membership = verdict.after.membership;
      stream.covered = verdict.after.covered;
      changed = true;
    }
    const auto add = [&](core::news& item) {
      inbox.head.last = inbox_pos{core::number_after(number(inbox.head.last), rescues(s))};
      s.rows.put(rows::inbox_key(part.user, inbox.head.last), item);
      changed = true;
      if (s.memory.leading)
        inbox.added.push_back({inbox.head.last, std::move(item)});
    };
    for (auto& item : part.items)
      std::visit(overloaded{
                     [&](const core::message_news& m) {
                       if (verdict.what == kind::accept && m.msg.seq > verdict.above)
                         add(item);
                     },
                     [&](const core::opened_news& o) {
                       if (!stream.members.empty()) // the user knows already
                         return;
                       stream.members = o.members;
                       add(item);
                     },
                     [&](core::watermark& w) {
                       auto& mark = inboxes.mark(part.user, inbox, part.conversation, w.user);
                       const auto now = core::raise(mark.is, {w.delivered, w.read});
                       if (now == mark.is)
                         return;
                       // One row per watermark is enough: a newer one includes the older.
                       if (mark.pos > inbox.head.dropped)
                         s.rows.erase(rows::inbox_key(part.user, mark.pos));
                       w.delivered = now.delivered;
                       w.read = now.read;
                       add(item);
                       mark = {inbox.head.last, now};
                       s.rows.put(rows::mark_key(part.user, part.conversation, w.user), mark);
                     },
                     [](const core::device_added&) {}, // malformed: only put_device writes it
                 },
                 item);
    out.parts.push_back({ec::none, stream.covered});
  }

  for (auto& [user, inbox] : inboxes.all()) {
    bool any = false;
    for (const auto& [conversation, stream] : inbox.streams)
      if (touched[{user, conversation}]) {
        s.rows.put(rows::stream_key(user, conversation), stream);
        any = true;
      }
    if (any)
      s.rows.put(rows::inbox_head_key(user), inbox.head);
    if (!inbox.added.empty())
      results_.arrivals.push_back({s.at.shard, user, std::move(inbox.added)});
  }
  return out;
}

// What one command reads is bounded: a device that was away for long, or any client right after its login,
// may acknowledge an inbox of a million rows. The cursor stops at the bound, and the inbox actor proposes the
// rest.
core::outcome shard_machine::on(step& s, core::advance_cursor& c) {
  auto found = load<rows::inbox_head>(s.rows, rows::inbox_head_key(c.user), "an inbox's head");
  auto* cursor = found ? found->find(c.device) : nullptr;
  if (!cursor)
    return core::advanced{ec::no_such_user, {}};
  auto& head = *found;
  auto upto = std::min(c.upto, head.last);
  if (upto <= cursor->acknowledged)
    return core::advanced{ec::none, cursor->acknowledged};

  const auto told = told_upto(head, cursor->acknowledged);
  std::map<conversation_id, seq_no> delivered;
  if (upto > told) {
    const inbox_pos first{number(told) + 1}, end{number(upto) + 1};
    std::size_t rows_read = 0, bytes_read = 0;
    s.rows.ascend(rows::inbox_key(c.user, first), rows::inbox_key(c.user, end),
                  [&](std::string_view key, std::string_view row) {
                    bytes_read += row.size();
                    if (rows_read == limits_.acknowledged_rows_max ||
                        (rows_read != 0 && bytes_read > limits_.acknowledged_bytes_max)) {
                      upto = inbox_pos{number(rows::parse_inbox_key(key)) - 1};
                      return storage::scan::stop;
                    }
                    ++rows_read;
                    const auto g = must(rows::glance(row), "a row of an inbox");
                    if (g.is_message && g.from != c.user) {
                      auto& seq = delivered[g.conversation];
                      seq = std::max(seq, g.seq);
                    }
                    return storage::scan::more;
                  });
  }

  cursor->acknowledged = upto;
  auto all_have = upto;
  for (const auto& d : head.devices)
    all_have = planted("one-device-confirms-all") ? upto : std::min(all_have, d.acknowledged);
  if (all_have > head.dropped) {
    const inbox_pos first{number(head.dropped) + 1}, end{number(all_have) + 1};
    const auto erased = s.rows.erase_range(rows::inbox_key(c.user, first), rows::inbox_key(c.user, end),
                                           limits_.dropped_rows_max);
    head.dropped = all_have;
    if (erased == limits_.dropped_rows_max) // a later acknowledgement goes on with what is left
      s.rows.ascend(rows::inbox_key(c.user, first), rows::inbox_key(c.user, end),
                    [&](std::string_view key, std::string_view) {
                      head.dropped = inbox_pos{number(rows::parse_inbox_key(key)) - 1};
                      return storage::scan::stop;
                    });
  }
  s.rows.put(rows::inbox_head_key(c.user), head);
  for (const auto& [conversation, seq] : delivered)
    owe(s, core::owed_watermark{{conversation, c.user, seq, {}}});
  return core::advanced{ec::none, upto};
}

} // namespace parley::cluster
