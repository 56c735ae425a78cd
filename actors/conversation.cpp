#include "actors/core/token_bucket.hpp"
#include "actors/resident.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>

namespace parley {
namespace {

/// The newest mark of one member that is not written yet, and the calls that wait for it.
struct pending_mark {
  seq_no read{};
  std::vector<routed_call> askers;
};

struct conversation_state : resident_state {
  static inline const char* name = "conversation";
  conversation_id id;
  found_conversation
      head; ///< members never leave a direct conversation, so who was found here is still a member
  core::token_bucket bucket{1, std::chrono::seconds{1}};
  std::unordered_map<std::uint64_t, pending_mark> marks; ///< by user
  std::optional<std::chrono::steady_clock::time_point> marks_written_at;
  std::unordered_map<std::uint64_t, std::vector<routed_call>>
      marked; ///< by ticket: the calls written with its own
};

using self_ptr = conversation_actor::stateful_pointer<conversation_state>;

bool is_member(const found_conversation& head, user_id user) {
  return head.exists && std::find(head.members.begin(), head.members.end(), user) != head.members.end();
}

/// Whether `user` may send here. A "no" is final only after a fresh read.
bool admit(conversation_state& st, user_id user) {
  if (!is_member(st.head, user))
    st.head = st.at.reader->head(st.at.shard, st.id);
  return is_member(st.head, user);
}

ec refusal_of(const found_conversation& head) {
  if (head.error != ec::none)
    return head.error;
  return head.exists ? ec::not_a_member : ec::no_such_conversation;
}

void propose_submission(self_ptr self, routed_call c) {
  auto& st = self->state;
  core::append_message append{std::move(std::get<core::submit>(c.what).what)};
  append.what.at = trusted(st, append.what.at);
  const core::command command{std::move(append)};
  propose(self, st, std::move(c), command);
}

void submit(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto& what = std::get<core::submit>(c.what).what;
  // A retry is answered even above the limit, once it can be read.
  if (!st.bucket.take(self->clock().now(), core::sends_of(what))) {
    if (auto first = st.at.reader->find_retry(st.at.shard, what))
      out.answer<core::submit>(c, *first);
    else
      out.refuse(c, ec::rate_limited, 100);
  } else if (!admit(st, what.from)) {
    if (planted("old-no-is-final"))
      out.refuse(c, refusal_of(st.head));
    else
      read_fresh(self, st, std::move(c));
  } else {
    propose_submission(self, std::move(c));
  }
}

void write_marks(self_ptr self) {
  auto& st = self->state;
  core::raise_watermarks command;
  std::vector<routed_call> askers;
  for (auto& [user, mark] : st.marks) {
    command.marks.push_back({st.id, user_id{user}, mark.read, mark.read});
    std::move(mark.askers.begin(), mark.askers.end(), std::back_inserter(askers));
  }
  st.marks.clear();
  if (command.marks.empty())
    return;
  st.marks_written_at = self->clock().now();
  auto first = std::move(askers.back());
  askers.pop_back();
  const auto ticket = propose(self, st, std::move(first), core::command{std::move(command)});
  if (!askers.empty())
    st.marked.emplace(ticket, std::move(askers));
}

void mark_read(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto what = std::get<core::mark_read>(c.what);
  if (!admit(st, what.by)) {
    read_fresh(self, st, std::move(c));
    return;
  }
  auto& mark = st.marks[number(what.by)];
  if (mark.askers.size() >= st.at.config.waiting_calls_max) {
    refuse_for_room(st, c, out, 1000);
    return;
  }
  mark.read = std::max(mark.read, what.upto);
  mark.askers.push_back(std::move(c));
  // The first mark is written at once, and those that follow within a second are written by the sweep.
  if (!st.marks_written_at || self->clock().now() >= *st.marks_written_at + st.at.config.sweep_every)
    write_marks(self);
}

void open(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto what = std::get<core::open_conversation>(c.what);
  if (what.by == what.with) {
    out.refuse(c, ec::bad_request);
    return;
  }
  // A conversation is never closed, so one that an old view has still is there: nothing needs to be written.
  if (admit(st, what.by)) {
    out.answer<core::open_conversation>(c, {ec::none, st.id, 0, 1});
    return;
  }
  const core::open_direct command{st.id, std::min(what.by, what.with), std::max(what.by, what.with),
                                  trusted(st, what.at)};
  propose(self, st, std::move(c), core::command{command});
}

void handle(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  std::visit(overloaded{
                 [&](const core::submit&) { submit(self, std::move(c), out); },
                 [&](const core::open_conversation&) { open(self, std::move(c), out); },
                 [&](const core::mark_read&) { mark_read(self, std::move(c), out); },
                 [&](const core::sync_conversation& x) {
                   if (planted("sync-from-old-view"))
                     out.answer<core::sync_conversation>(c, st.at.reader->page(st.at.shard, x));
                   else
                     read_fresh(self, st, std::move(c));
                 },
                 [&](const core::served_elsewhere<resident_kind::conversation> auto&) {
                   out.refuse(c, ec::internal); // resident_of names another resident for it
                 },
             },
             c.what);
}

/// The fresh read for `c` was answered, so what the last published view left undecided can be decided now.
void decide_fresh(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  std::visit(overloaded{
                 [&](const core::submit& x) {
                   if (admit(st, x.what.from))
                     propose_submission(self, std::move(c));
                   else
                     out.refuse(c, refusal_of(st.head));
                 },
                 [&](const core::mark_read& x) {
                   if (admit(st, x.by))
                     mark_read(self, std::move(c), out);
                   else
                     out.refuse(c, refusal_of(st.head));
                 },
                 [&](const core::sync_conversation& x) {
                   out.answer<core::sync_conversation>(c, st.at.reader->page(st.at.shard, x));
                 },
                 [&](const core::open_conversation&) { out.refuse(c, ec::internal); }, // never reads
                 [&](const core::served_elsewhere<resident_kind::conversation> auto&) {
                   out.refuse(c, ec::internal);
                 },
             },
             c.what);
}

/// A proposal was applied: `outcome` answers `c`, and `also`, the calls that were written with it.
void answer_applied(const conversation_state& st, const routed_call& c, const core::outcome& outcome,
                    const std::vector<routed_call>& also, answers& out) {
  std::visit(
      overloaded{
          [&](const core::submit&) { out.answer<core::submit>(c, std::get<core::placement>(outcome)); },
          [&](const core::open_conversation&) {
            const auto& d = std::get<core::done>(outcome);
            out.answer<core::open_conversation>(c, {d.error, st.id, d.retry_after_ms});
          },
          [&](const core::mark_read&) {
            const auto& d = std::get<core::done>(outcome);
            out.answer<core::mark_read>(c, d);
            for (const auto& other : also)
              out.answer<core::mark_read>(other, d);
          },
          [&](const core::sync_conversation&) { out.refuse(c, ec::internal); }, // never proposes
          [&](const core::served_elsewhere<resident_kind::conversation> auto&) {
            out.refuse(c, ec::internal);
          },
      },
      c.what);
}

void finish(self_ptr self, result& r, answers& out) {
  auto& st = self->state;
  auto c = take_or_refuse(st.waiting, r, out);
  auto marked = st.marked.extract(r.ticket);
  const auto also = marked.empty() ? std::vector<routed_call>{} : std::move(marked.mapped());
  if (r.error != ec::none) {
    for (const auto& other : also)
      out.refuse(other, r.error);
  } else if (c && r.fresh) {
    decide_fresh(self, std::move(*c), out);
  } else if (c) {
    answer_applied(st, *c, r.what, also, out);
  }
}

conversation_actor::behavior_type conversation(self_ptr self, residence at) {
  auto& st = self->state;
  st.at = std::move(at);
  st.id = {st.at.key.hi, st.at.key.lo};
  st.bucket = {st.at.config.conversation_burst_max, st.at.config.conversation_refill_every};
  return {
      [self](call_batch& batch) {
        take_calls(self, batch, [self](routed_call c, answers& out) { handle(self, std::move(c), out); });
      },
      [self](result_batch& batch) {
        take_results(self, batch, [self](result& r, answers& out) { finish(self, r, out); });
      },
      [](inbox_arrival&) {}, // only inboxes get them
      [self](atom::sweep) {
        write_marks(self);
        end_sweep(self, self->state, duty::none);
      },
      [self](atom::stop) {
        write_marks(self);
        stop(self);
      },
  };
}

} // namespace

conversation_actor spawn_conversation(caf::actor_system& sys, residence at) {
  return sys.spawn(conversation, std::move(at));
}

} // namespace parley
