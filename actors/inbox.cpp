#include "actors/core/cursor_writer.hpp"
#include "actors/resident.hpp"
#include "protocol/values/limits.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>
#include <map>

namespace parley {
namespace {

struct live_device {
  core::connection_ref connection;
  session_number session{}; ///< of the newest connection; kept when that detaches
  bool live = false;        ///< it has all stored rows, and new ones are pushed to it
  inbox_pos last{};         ///< rows up to here were pushed or sent in pages
  core::cursor_writer cursor;
  std::uint64_t cursor_ticket = 0;                  ///< of the newest proposal to write it
  std::chrono::steady_clock::time_point heard_at{}; ///< when its connection last said that it is there
};

struct inbox_state : resident_state {
  static inline const char* name = "inbox";
  user_id user{};
  /// The newest row that is known. A page that ends before it was read before that row's commit. What an
  /// acknowledgement beyond it names may not exist.
  inbox_pos arrived{};
  std::map<std::uint64_t, live_device> devices; ///< few: an inbox with one device has no hash buckets
  std::uint64_t copies_ticket = 0;              ///< of the `ask_copies` that is under way; 0: none
};

using self_ptr = inbox_actor::stateful_pointer<inbox_state>;

/// A live device is pushed to without a sweep. Only what was acknowledged and is not stored needs one.
duty left_to_do(const inbox_state& st) {
  const auto any = [&](auto is) {
    return std::any_of(st.devices.begin(), st.devices.end(), [&](const auto& d) { return is(d.second); });
  };
  if (any([](const live_device& d) { return d.cursor.behind(); }))
    return duty::work;
  const bool is_live = any([](const live_device& d) { return d.live; }) && !planted("unloads-while-live");
  return is_live ? duty::held : duty::none;
}

/// Whether `ref` is the device's connection, which is the one with the highest number seen; a newer one closes
/// the one before it. A connection that has detached is not accepted again, even if a late message of it
/// arrives. To reconnect, the device must log in with a higher session number.
bool take_over(inbox_state& st, device_id device, const core::connection_ref& ref, session_number session) {
  auto& d = st.devices[number(device)];
  if (session <= d.session)
    return session == d.session && ref == d.connection;
  if (d.connection.number != 0) {
    delivery_batch out;
    out.deliveries.push_back({d.connection, inbox_pos::none, {}, ec::fenced, {}});
    caf::anon_send(st.at.router, std::move(out));
  }
  d.connection = ref;
  d.session = session;
  d.live = false;
  return true;
}

/// A connection whose node is gone detaches from nobody. Without heartbeats it counts as gone: what is pushed to it
/// reaches nobody, and the inbox could never passivate. If it lives after all, its next heartbeat is told that nothing is pushed
/// to it, and it asks for what there is, after which rows are pushed to it again. An inbox that has passivated meanwhile, and
/// one that has begun anew, say the same.
void drop_silent(inbox_state& st, std::chrono::steady_clock::time_point now) {
  for (auto& [device, d] : st.devices)
    if (d.live && d.heard_at + st.at.config.silent_after <= now)
      d.live = false;
}
/// Sees to it that a sweep looks at the live device that was heard of least recently.
void arm_for_silence(self_ptr self) {
  auto& st = self->state;
  std::optional<std::chrono::steady_clock::time_point> first;
  for (const auto& [device, d] : st.devices)
    if (d.live)
      first = std::min(first.value_or(d.heard_at), d.heard_at);
  if (first)
    arm_sweep(self, st.idle_due,
              std::chrono::ceil<std::chrono::milliseconds>(*first + st.at.config.silent_after -
                                                           self->clock().now()));
}

proposal_batch cursor_proposal(const inbox_state& st, device_id device, inbox_pos upto, std::uint64_t ticket,
                               result_sink reply_to) {
  proposal_batch batch;
  batch.proposals.push_back(make_proposal(st.at.shard, st.at.format, ticket, std::move(reply_to),
                                          core::advance_cursor{st.user, device, upto}));
  return batch;
}

/// Proposes the acknowledged positions that are due: one write a second per device, however fast it reads.
void write_cursors(self_ptr self) {
  auto& st = self->state;
  const auto now = self->clock().now();
  for (auto& [device, d] : st.devices)
    if (const auto upto = d.cursor.propose(now, st.at.config.sweep_every)) {
      d.cursor_ticket = st.waiting.next_ticket();
      caf::anon_send(st.at.store, cursor_proposal(st, device_id{device}, *upto, d.cursor_ticket,
                                                  caf::actor_cast<result_sink>(self)));
    }
}

/// The actor ends, so nobody waits for these. If one is refused, its session acknowledges again to the next
/// leader's inbox, which does not know the position.
void write_cursors_at_last(const inbox_state& st) {
  for (const auto& [device, d] : st.devices)
    if (d.cursor.behind())
      caf::anon_send(st.at.store,
                     cursor_proposal(st, device_id{device}, d.cursor.acknowledged(), 0, result_sink{}));
}

/// Whether `r` is the answer to a proposal of `write_cursors`.
bool cursor_answered(self_ptr self, const result& r) {
  auto& st = self->state;
  const auto i = std::find_if(st.devices.begin(), st.devices.end(),
                              [&](const auto& d) { return d.second.cursor_ticket == r.ticket; });
  if (i == st.devices.end())
    return false;
  auto& cursor = i->second.cursor;
  const auto now = self->clock().now();
  const auto every = st.at.config.sweep_every;
  const auto* applied = std::get_if<core::advanced>(&r.what);
  const auto error = r.error != ec::none ? r.error : applied ? applied->error : ec::internal;
  if (error == ec::none)
    cursor.written(applied->upto, now, every);
  else
    cursor.refused(error, now, every);
  write_cursors(self); // one command passes a bounded number of rows: here follows the rest
  return true;
}

/// Has further conversations of the user told that there is a second device.
void ask_copies(self_ptr self) {
  auto& st = self->state;
  st.copies_ticket = st.waiting.next_ticket();
  proposal_batch batch;
  batch.proposals.push_back(make_proposal(st.at.shard, st.at.format, st.copies_ticket,
                                          caf::actor_cast<result_sink>(self), core::ask_copies{st.user}));
  caf::anon_send(st.at.store, std::move(batch));
}

/// Whether `r` is the answer to `ask_copies`. After an error the next session that announces itself goes on: a
/// heartbeat does so every few seconds.
bool copies_answered(self_ptr self, const result& r) {
  auto& st = self->state;
  if (st.copies_ticket == 0 || r.ticket != st.copies_ticket)
    return false;
  st.copies_ticket = 0;
  const auto* asked = std::get_if<core::copies_asked>(&r.what);
  if (r.error == ec::none && asked && asked->error == ec::none && asked->more != 0)
    ask_copies(self);
  return true;
}

/// Acknowledges nothing beyond the rows that exist now: the cursor is written later, and would then cover
/// rows that arrived meanwhile and that no device has.
void acknowledge(self_ptr self, const core::acknowledge& what, const routed_call& c, answers& out) {
  auto& st = self->state;
  st.devices[number(what.device)].cursor.acknowledge(std::min(what.upto, st.arrived));
  out.answer<core::acknowledge>(c, {});
  write_cursors(self);
}

void detach(inbox_state& st, const core::detach& gone, const routed_call& c, answers& out) {
  auto i = st.devices.find(number(gone.device));
  if (i != st.devices.end() && (i->second.connection == gone.connection || planted("detach-of-any"))) {
    i->second.connection = {};
    i->second.live = false;
  }
  out.answer<core::detach>(c, {});
}

/// What the session that asks (`attach` or `log_in`) has to know, and whether it is the device's newest.
core::attached announce(self_ptr self, const auto& ask) {
  auto& st = self->state;
  auto state = st.at.reader->inbox_state(st.at.shard, st.user, ask.device);
  st.arrived = std::max(st.arrived, state.last);
  if (state.error == ec::none && !take_over(st, ask.device, ask.connection, ask.session))
    state.error = ec::fenced;
  if (state.error == ec::none) {
    auto& d = st.devices[number(ask.device)];
    d.heard_at = self->clock().now();
    d.cursor.stored(state.acknowledged);
    // What is not written yet counts as well.
    state.acknowledged = std::max(state.acknowledged, d.cursor.acknowledged());
    if (d.live) // rows that were applied but not committed at this read were pushed: none is missing
      state.last = d.last;
    if (state.copies_due != 0 && st.copies_ticket == 0)
      ask_copies(self);
    state.live = d.live || planted("gone-stays-gone");
  }
  return state;
}

/// The gateway has checked who has the key; whether it is the device's is known here. Until that is certain the
/// login fences nobody.
void log_in(self_ptr self, const core::log_in& ask, const routed_call& c, answers& out) {
  auto& st = self->state;
  const auto found = st.at.reader->device(st.at.shard, st.user, ask.device);
  if (found.error != ec::none)
    out.refuse(c, found.error);
  else if (found.device.key != ask.key)
    out.refuse(c, ec::bad_signature);
  else
    out.answer<core::log_in>(c, announce(self, ask));
}

/// The asker's device, if the asking connection is the one that announced itself here last; else null.
const live_device* announced(const inbox_state& st, const auto& ask) {
  const auto i = st.devices.find(number(ask.device));
  const bool is_it =
      i != st.devices.end() && i->second.connection == ask.connection && i->second.session == ask.session;
  return is_it ? &i->second : nullptr;
}

/// Whether this is the heartbeat of a session that has all rows so far, and gets new ones. It needs no fresh
/// read: if another replica leads meanwhile, its node says so, and the session announces itself there.
bool is_heartbeat(const inbox_state& st, const core::attach& ask) {
  const auto* d = announced(st, ask);
  return d && d->live;
}

/// Whether more rows are known to follow `ask.after` than one page holds. Rows never change once they have a
/// position, so even a replica that no longer leads serves such a page as the leader does.
bool ends_before_known_rows(const inbox_state& st, const core::pull_inbox& ask) {
  const auto wanted = ask.limit == 0 ? page_items_max : std::min(ask.limit, page_items_max);
  return number(st.arrived) > wanted && number(st.arrived) - wanted > number(ask.after);
}

/// Whether the connection has announced itself here, which took a fresh read, and asks for what it does not have
/// before rows are pushed to it. This actor has heard of every row since. If another replica leads meanwhile, the
/// connection announces itself there, as one does to which rows are pushed already.
bool begins_live(const inbox_state& st, const core::pull_inbox& ask) {
  return ask.live != 0 && announced(st, ask);
}

/// False: nothing was answered, because `view` is `reading::published` and a fresh read may find more.
enum class reading : std::uint8_t { published, fresh };
bool pull(self_ptr self, const core::pull_inbox& ask, const routed_call& c, answers& out, reading view) {
  auto& st = self->state;
  const bool begins = begins_live(st, ask); // before it takes over
  if (ask.live != 0 && !take_over(st, ask.device, ask.connection, ask.session)) {
    out.refuse(c, ec::fenced);
    return true;
  }
  auto page = st.at.reader->inbox(st.at.shard, ask);
  const bool has_all_known = begins && (page.next >= st.arrived || planted("page-covers-unread"));
  if (view == reading::published && (page.error != ec::none || (page.more == 0 && !has_all_known)))
    return false;
  if (page.error == ec::none && page.next < st.arrived && !planted("page-covers-unread"))
    page.more = 1; // rows arrive when applied, a moment before readers can read them
  if (!page.rows.empty())
    st.arrived = std::max(st.arrived, page.rows.back().pos);
  if (ask.live != 0 && page.error == ec::none) {
    auto& d = st.devices[number(ask.device)];
    d.live = page.more == 0;
    d.last = page.next;
    d.heard_at = self->clock().now();
  }
  out.answer<core::pull_inbox>(c, std::move(page));
  return true;
}

void handle(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto fresh = [&] { read_fresh(self, st, std::move(c)); };
  std::visit(overloaded{
                 [&](const core::acknowledge& x) {
                   if (x.upto <= st.arrived)
                     acknowledge(self, x, c, out);
                   else
                     fresh();
                 },
                 [&](const core::detach& x) { detach(st, x, c, out); },
                 [&](const core::pull_inbox& x) {
                   const bool known = ends_before_known_rows(st, x) || begins_live(st, x);
                   if (!known || !pull(self, x, c, out, reading::published))
                     fresh();
                 },
                 [&](const core::attach& x) {
                   if (is_heartbeat(st, x))
                     out.answer<core::attach>(c, announce(self, x));
                   else
                     fresh();
                 },
                 [&](const core::log_in&) { fresh(); },
                 [&](const core::list_conversations&) { fresh(); },
                 [&](const core::served_elsewhere<resident_kind::inbox> auto&) {
                   out.refuse(c, ec::internal); // resident_of names another resident for it
                 },
             },
             c.what);
}

/// The acknowledgement named a row that this actor does not know: the actor was restarted, or there is no
/// such row.
void acknowledge_fresh(self_ptr self, const core::acknowledge& what, const routed_call& c, answers& out) {
  auto& st = self->state;
  const auto stored = st.at.reader->inbox_state(st.at.shard, st.user, what.device);
  if (stored.error != ec::none)
    return out.refuse(c, stored.error);
  st.arrived = std::max(st.arrived, stored.last);
  acknowledge(self, what, c, out);
}

void finish(self_ptr self, result& r, answers& out) {
  auto& st = self->state;
  if (copies_answered(self, r) || cursor_answered(self, r))
    return;
  const auto c = take_or_refuse(st.waiting, r, out);
  if (!c)
    return;
  std::visit(
      overloaded{
          [&](const core::pull_inbox& x) { pull(self, x, *c, out, reading::fresh); },
          [&](const core::attach& x) { out.answer<core::attach>(*c, announce(self, x)); },
          [&](const core::log_in& x) { log_in(self, x, *c, out); },
          [&](const core::acknowledge& x) { acknowledge_fresh(self, x, *c, out); },
          [&](const core::list_conversations& x) {
            out.answer<core::list_conversations>(*c, st.at.reader->conversations(st.at.shard, x));
          },
          [&](const core::detach&) { out.refuse(*c, ec::internal); }, // never waits
          [&](const core::served_elsewhere<resident_kind::inbox> auto&) { out.refuse(*c, ec::internal); },
      },
      c->what);
}

/// Pushes new rows to every live device. A device whose page was read while these rows were being applied has
/// some of them already; those are left out.
void push(inbox_state& st, inbox_arrival& news) {
  auto& rows = news.rows;
  if (rows.empty())
    return;
  st.arrived = std::max(st.arrived, rows.back().pos);
  delivery_batch out;
  for (auto& [device, d] : st.devices) {
    if (!d.live || rows.back().pos <= d.last)
      continue;
    const auto first = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.pos > d.last; });
    delivery to{d.connection, d.last, {first, rows.end()}, ec::none, news.applied_at};
    d.last = rows.back().pos;
    out.deliveries.push_back(std::move(to));
  }
  if (!out.deliveries.empty())
    caf::anon_send(st.at.router, std::move(out));
}

inbox_actor::behavior_type inbox(self_ptr self, residence at) {
  auto& st = self->state;
  st.at = std::move(at);
  st.user = user_id{st.at.key.lo};
  return {
      [self](call_batch& batch) {
        take_calls(self, batch, [self](routed_call c, answers& out) { handle(self, std::move(c), out); });
      },
      [self](result_batch& batch) {
        take_results(self, batch, [self](result& r, answers& out) { finish(self, r, out); });
      },
      [self](inbox_arrival& news) {
        self->state.last_used = self->clock().now();
        push(self->state, news);
      },
      [self](atom::sweep) {
        write_cursors(self);
        drop_silent(self->state, self->clock().now());
        end_sweep(self, self->state, left_to_do(self->state));
        arm_for_silence(self);
      },
      [self](atom::stop) {
        write_cursors_at_last(self->state);
        stop(self);
      },
  };
}

} // namespace

inbox_actor spawn_inbox(caf::actor_system& sys, residence at) {
  return sys.spawn(inbox, std::move(at));
}

} // namespace parley
