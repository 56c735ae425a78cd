#include "cluster/machine/shard_queries.hpp"

#include "actors/core/rescue_numbers.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster::queries {

using storage::scan;

namespace {

std::uint32_t rows_of(std::uint32_t asked, const core::limits& l) {
  return asked == 0 ? l.page_rows_max : std::min(asked, l.page_rows_max);
}

ec error_of(core::format_fault why) {
  return why == core::format_fault::newer ? ec::unsupported_version : ec::corrupt;
}

template <class T>
row<T> load(shard_view& view, std::string_view key) {
  const auto v = view.get(key);
  if (!v)
    return {std::nullopt, view.status()};
  auto x = rows::read<T>(*v);
  const auto error = x ? ec::none : ec::corrupt;
  return {std::move(x), error};
}

} // namespace

row<rows::conversation_head> find_conversation(shard_view& view, conversation_id c) {
  return load<rows::conversation_head>(view, rows::head_key(c));
}

std::optional<core::placement> find_retry(shard_view& view, const core::submission& what) {
  const auto v = view.get(rows::sender_key(what.conversation, what.id.device));
  if (!v && view.status() == ec::none)
    return std::nullopt;
  if (!v)
    return core::placement{view.status()};
  const auto sender = rows::read<core::sender_head>(*v);
  if (!sender)
    return core::placement{ec::corrupt};
  core::remembered_ids ids;
  if (what.id.counter <= sender->counter_max)
    if (const auto row = view.get(
            rows::remembered_key(what.conversation, what.id.device, core::row_of(what.id.counter)))) {
      auto whole = rows::read<core::remembered_ids>(*row);
      if (!whole)
        return core::placement{ec::corrupt};
      ids = std::move(*whole);
    }
  // A remembered id whose row is unreadable must not look like a new one.
  if (view.status() != ec::none)
    return core::placement{ec::corrupt};
  const auto* known = core::find_remembered(ids, what.id.counter);
  const auto first_answer = [&](ec error) {
    return core::placement{error, known->seq, derive_message_id(what.conversation, known->seq), known->at, 1};
  };
  switch (core::judge_retry(*sender, what.id.counter, what.hash, known)) {
  case core::retry_verdict::fresh:
    break;
  case core::retry_verdict::repeat:
    return first_answer(ec::none);
  case core::retry_verdict::conflict:
    return first_answer(ec::conflict);
  case core::retry_verdict::too_old:
    return core::placement{ec::retry_too_old};
  }
  return std::nullopt;
}

core::conversation_page read_conversation(shard_view& view, const core::sync_conversation& ask,
                                          const core::limits& l) {
  core::conversation_page page;
  const auto head = load<rows::conversation_head>(view, rows::head_key(ask.conversation));
  if (!head.it) {
    page.error = head.error != ec::none ? head.error : ec::no_such_conversation;
    return page;
  }
  if (!head.it->find(ask.by)) {
    page.error = ec::not_a_member;
    return page;
  }
  page.last = head.it->last;
  page.marks = read_watermarks(view, ask.conversation, *head.it);
  if (ask.after >= page.last)
    return page;
  const auto rows_max = rows_of(ask.limit, l);
  std::size_t bytes = 0;
  auto before = ask.after;
  view.ascend(rows::message_key(ask.conversation, next(before)), rows::message_rows(ask.conversation).past(),
              [&](std::string_view key, std::string_view v) {
                auto m = rows::unpack_message(ask.conversation, rows::parse_message_key(key).seq, v,
                                              core::reading::known)
                             .it;
                // A page is contiguous: a hole means that a row could not be read.
                if (!m || !core::follows(before, m->seq)) {
                  page.error = ec::corrupt;
                  return scan::stop;
                }
                if (page.messages.size() >= rows_max || (bytes != 0 && bytes + v.size() > l.page_bytes_max)) {
                  page.more = 1;
                  return scan::stop;
                }
                bytes += v.size();
                before = m->seq;
                page.messages.push_back(std::move(*m));
                return scan::more;
              });
  if (view.status() != ec::none)
    page.error = view.status();
  if (page.error != ec::none)
    page.messages.clear();
  return page;
}

std::vector<core::message> read_messages(shard_view& view, conversation_id c, seq_no after, seq_no upto,
                                         std::size_t rows_max, std::size_t bytes_max) {
  std::vector<core::message> out;
  std::size_t bytes = 0;
  if (upto <= after || rows_max == 0)
    return out;
  view.ascend(rows::message_key(c, next(after)), rows::message_rows(c).past(),
              [&](std::string_view key, std::string_view v) {
                const auto seq = rows::parse_message_key(key).seq;
                if (seq > upto)
                  return scan::stop;
                auto m = rows::unpack_message(c, seq, v, core::reading::whole).it; // it becomes an inbox row
                if (!m || (!out.empty() && bytes + m->body.size() > bytes_max))
                  return scan::stop;
                bytes += m->body.size();
                out.push_back(std::move(*m));
                return out.size() < rows_max ? scan::more : scan::stop;
              });
  return out;
}

std::vector<core::watermark> read_watermarks(shard_view& view, conversation_id c,
                                             const rows::conversation_head& head) {
  std::vector<core::watermark> marks;
  marks.reserve(head.members.size());
  for (const auto& m : head.members) {
    core::progress p;
    if (const auto v = view.get(rows::progress_key(c, m.user)))
      p = rows::read<core::progress>(*v).value_or(core::progress{});
    marks.push_back({c, m.user, p.delivered, p.read});
  }
  return marks;
}

namespace {

/// The message whose body a debt needs, if any.
const core::owed_message* message_of(const core::owed& what) {
  using message = const core::owed_message*;
  return std::visit(overloaded{
                        [](const core::owed_message& x) -> message { return &x; },
                        [](const core::owed_opening&) -> message { return nullptr; },
                        [](const core::owed_receipt&) -> message { return nullptr; },
                        [](const core::owed_watermark&) -> message { return nullptr; },
                        [](const core::owed_copies&) -> message { return nullptr; },
                        [](const core::owed_renewal&) -> message { return nullptr; },
                    },
                    what);
}

} // namespace

core::debt_page read_debts(shard_view& view, shard_id shard, std::uint64_t from, std::size_t rows_max,
                           std::size_t bytes_max) {
  core::debt_page page;
  std::size_t bytes = 0;
  view.ascend(rows::debt_key(from), rows::row_key{'o'}.past(), [&](std::string_view key, std::string_view v) {
    if (page.rows.size() >= rows_max) {
      page.more = !planted("debt-page-forgets-more");
      return scan::stop;
    }
    auto what = rows::read_whole<core::owed>(v); // what is not known of a debt would not be paid
    if (!what.it) {
      page.error = error_of(what.why);
      return scan::stop;
    }
    core::incurred debt{shard, rows::parse_debt_key(key), std::move(*what.it), std::nullopt};
    if (const auto* m = message_of(debt.what)) {
      const auto row = view.get(rows::message_key(m->conversation, m->seq));
      auto full = row ? rows::unpack_message(m->conversation, m->seq, *row, core::reading::whole)
                      : core::decoded<core::message>{std::nullopt, core::format_fault::damaged};
      if (!full.it) { // a debt without its body cannot be paid, and those behind it must not overtake it
        page.error = error_of(full.why);
        return scan::stop;
      }
      bytes += full.it->body.size();
      if (!page.rows.empty() && bytes > bytes_max) {
        page.more = true;
        return scan::stop;
      }
      debt.full = std::move(full.it);
    }
    page.rows.push_back(std::move(debt));
    return scan::more;
  });
  if (page.error == ec::none &&
      !page.more) { // the newest debt has its row, or forgetting it has left its number
    const auto end = load<rows::debt_end>(view, rows::debt_end_key());
    page.error = end.error;
    page.newest = end.it ? end.it->next - 1 : 0;
    if (!page.rows.empty())
      page.newest = std::max(page.newest, page.rows.back().number);
  }
  // A row that fails its checksum reads as absent, and so does every row if there was no read transaction.
  if (view.status() != ec::none)
    page.error = view.status();
  if (page.error != ec::none)
    page = {.error = page.error};
  return page;
}

// --- inboxes -----------------------------------------------------------------------------------------------

core::inbox_page read_inbox(shard_view& view, const core::pull_inbox& ask, const core::limits& l) {
  core::inbox_page page;
  page.next = ask.after;
  const auto head = load<rows::inbox_head>(view, rows::inbox_head_key(ask.user));
  page.error = head.error;
  if (page.error != ec::none)
    return page;
  if (ask.after > (head.it ? head.it->last : inbox_pos::none)) {
    page.error = ec::bad_cursor;
    return page;
  }
  // What arrived before a device was added is not its own, whatever of it is still there for the others.
  const auto after = std::max(ask.after, head.it ? head.it->begin_of(ask.device) : inbox_pos::none);
  page.next = after;
  const auto rows_max = rows_of(ask.limit, l);
  const auto bytes_max = ask.live != 0 ? std::min(stream_page_bytes_max, l.page_bytes_max) : l.page_bytes_max;
  std::size_t bytes = 0;
  const inbox_pos first{number(after) + 1};
  view.ascend(rows::inbox_key(ask.user, first), rows::inbox_rows(ask.user).past(),
              [&](std::string_view key, std::string_view v) {
                if (page.rows.size() >= rows_max || (bytes != 0 && bytes + v.size() > bytes_max)) {
                  page.more = planted("page-forgets-more") ? 0 : 1;
                  return scan::stop;
                }
                const auto pos = rows::parse_inbox_key(key);
                auto what = rows::unpack_news(v, core::reading::known).it;
                if (!what) {
                  page.error = ec::corrupt;
                  return scan::stop;
                }
                bytes += v.size();
                page.rows.push_back({pos, std::move(*what)});
                page.next = pos;
                return scan::more;
              });
  if (view.status() != ec::none)
    page.error = view.status();
  if (page.error != ec::none) {
    page.rows.clear();
    page.next = ask.after;
  } else if (page.more == 0 && head.it) {
    // All rows up to the last were seen, or are gone because every device acknowledged them. Without this,
    // who asks from before rows that are gone would ask for ever.
    page.next = std::max(page.next, head.it->last);
  }
  return page;
}

core::attached read_attachment(shard_view& view, user_id user, device_id device) {
  core::attached a;
  auto head = load<rows::inbox_head>(view, rows::inbox_head_key(user));
  const auto* cursor = head.it ? head.it->find(device) : nullptr;
  if (!cursor) {
    a.error = head.error != ec::none ? head.error : ec::no_such_user;
    return a;
  }
  a.acknowledged = cursor->acknowledged;
  a.last = head.it->last;
  a.devices = static_cast<std::uint32_t>(head.it->devices.size());
  a.copies_due = head.it->copies_next.has_value();
  return a;
}

core::conversation_list list_conversations(shard_view& view, const core::list_conversations& ask,
                                           const core::limits& l) {
  core::conversation_list list;
  const auto rows_max = rows_of(ask.limit, l);
  std::size_t bytes = 0;
  view.ascend(rows::stream_key(ask.user, ask.after), rows::stream_rows(ask.user).past(),
              [&](std::string_view key, std::string_view v) {
                const auto c = rows::parse_stream_key(key);
                if (c == ask.after)
                  return scan::more;
                if (list.items.size() >= rows_max || (bytes != 0 && bytes + v.size() > l.page_bytes_max)) {
                  list.more = 1;
                  return scan::stop;
                }
                auto stream = rows::read<rows::inbox_stream>(v);
                if (!stream) {
                  list.error = ec::corrupt;
                  return scan::stop;
                }
                bytes += v.size();
                list.items.push_back({c, std::move(stream->members), stream->covered});
                return scan::more;
              });
  if (view.status() != ec::none)
    list.error = view.status();
  if (list.error != ec::none)
    list.items.clear();
  return list;
}

// --- accounts and nodes ------------------------------------------------------------------------------------

core::found_device find_device(shard_view& view, user_id user, device_id device) {
  core::found_device found;
  auto account = load<rows::account>(view, rows::account_key(user));
  found.error = account.error != ec::none ? account.error : ec::no_such_user;
  if (!account.it)
    return found;
  found.devices = static_cast<std::uint32_t>(account.it->devices.size());
  for (auto& d : account.it->devices)
    if (d.id == device) {
      found.error = ec::none;
      found.device = std::move(d);
      break;
    }
  return found;
}

core::found_phone find_phone(shard_view& view, std::string_view phone, const core::limits& l) {
  if (phone.empty() || phone.size() > l.phone_bytes_max)
    return {ec::bad_phone};
  const auto claim = load<core::phone_claim>(view, rows::phone_key(phone));
  if (claim.it && claim.it->has_user)
    return {ec::none, claim.it->user};
  return {claim.error != ec::none ? claim.error : ec::no_such_user};
}

core::node_list list_nodes(shard_view& view) {
  core::node_list list;
  view.ascend(rows::row_key{'n'}, rows::row_key{'n'}.past(), [&](std::string_view, std::string_view v) {
    auto n = rows::read<core::node_record>(v);
    if (!n) {
      list.error = ec::corrupt;
      return scan::stop;
    }
    list.nodes.push_back(std::move(*n));
    return scan::more;
  });
  if (view.status() != ec::none)
    list.error = view.status();
  return list;
}

core::format_number read_format(shard_view& view) {
  return load<rows::shard_format>(view, rows::format_key()).it.value_or(rows::shard_format{}).number;
}

} // namespace parley::cluster::queries
