#include "actors/core/token_bucket.hpp"
#include "actors/resident.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>

namespace parley {
namespace {

/// The newest mark of one member that is not written yet, and who waits for it.
struct pending_mark {
  seq_no read{};
  std::vector<routed_call> askers;
};

struct conversation_state : resident_state {
  static inline const char* name = "conversation";
  conversation_id id;
  conversation_head head; ///< members never leave a direct conversation, so a positive finding stays true
  core::token_bucket bucket{1, std::chrono::seconds{1}};
  std::unordered_map<std::uint64_t, pending_mark> marks; ///< by user
  std::optional<std::chrono::steady_clock::time_point> marks_written_at;
  std::unordered_map<std::uint64_t, std::vector<routed_call>> marked; ///< by ticket: written together
};

using self_ptr = conversation_actor::stateful_pointer<conversation_state>;

bool is_member(const conversation_head& head, user_id user) {
  return head.exists && std::find(head.members.begin(), head.members.end(), user) != head.members.end();
}

enum class view { old, fresh };

/// True if `user` may speak here. A "no" is only final in a fresh view.
bool admit(conversation_state& st, user_id user, view of) {
  auto& reader = *st.at.reader;
  if (!is_member(st.head, user))
    st.head = of == view::fresh ? reader.head(st.at.shard, st.id) : reader.old_head(st.at.shard, st.id);
  return is_member(st.head, user);
}

ec refusal_of(const conversation_head& head) {
  if (head.error != ec::none)
    return head.error;
  return head.exists ? ec::not_a_member : ec::no_such_conversation;
}

void propose_submission(self_ptr self, routed_call c) {
  auto& st = self->state;
  auto command = core::command{core::append_message{std::move(std::get<core::submit>(c.what))}};
  propose(self, st, std::move(c), command);
}

void submit(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto& what = std::get<core::submit>(c.what);
  if (!st.bucket.take(self->clock().now())) { // a retry is answered before any limit
    if (auto first = st.at.reader->find_retry(st.at.shard, what))
      out.add(c.reply_to, c.number, *first);
    else
      out.refuse(c, ec::rate_limited, 100);
  } else if (!admit(st, what.from, view::old)) {
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
  if (!admit(st, what.by, view::old)) {
    read_fresh(self, st, std::move(c));
    return;
  }
  auto& mark = st.marks[number(what.by)];
  if (mark.askers.size() >= st.at.config.waiting_calls_max) {
    out.refuse(c, ec::overloaded, 1000);
    return;
  }
  mark.read = std::max(mark.read, what.upto);
  mark.askers.push_back(std::move(c));
  // the first at once, those that follow within a second with the sweep
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
  const core::open_direct command{st.id, std::min(what.by, what.with), std::max(what.by, what.with), what.at};
  propose(self, st, std::move(c), core::command{command});
}

void handle(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  if (st.waiting.size() >= st.at.config.waiting_calls_max) {
    out.refuse(c, ec::overloaded, 200);
    return;
  }
  if (std::holds_alternative<core::submit>(c.what))
    submit(self, std::move(c), out);
  else if (std::holds_alternative<core::open_conversation>(c.what))
    open(self, std::move(c), out);
  else if (std::holds_alternative<core::mark_read>(c.what))
    mark_read(self, std::move(c), out);
  else
    read_fresh(self, st, std::move(c)); // sync_conversation
}

/// A fresh read was answered: what could not be decided before can be now.
void decide_fresh(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  if (auto* ask = std::get_if<core::sync_conversation>(&c.what)) {
    out.add(c.reply_to, c.number, st.at.reader->page(st.at.shard, *ask));
    return;
  }
  const auto user = std::holds_alternative<core::submit>(c.what) ? std::get<core::submit>(c.what).from
                                                                 : std::get<core::mark_read>(c.what).by;
  if (!admit(st, user, view::fresh))
    out.refuse(c, refusal_of(st.head));
  else if (std::holds_alternative<core::submit>(c.what))
    propose_submission(self, std::move(c));
  else
    mark_read(self, std::move(c), out);
}

void finish(self_ptr self, result& r, answers& out) {
  auto& st = self->state;
  auto c = st.waiting.take(r.ticket);
  if (!c)
    return;
  auto also = st.marked.extract(r.ticket);
  if (r.error != ec::none) {
    out.refuse(*c, r.error);
    if (!also.empty())
      for (auto& other : also.mapped())
        out.refuse(other, r.error);
    return;
  }
  if (r.fresh) {
    decide_fresh(self, std::move(*c), out);
  } else if (auto* placed = std::get_if<core::placement>(&r.what)) {
    out.add(c->reply_to, c->number, *placed);
  } else if (std::holds_alternative<core::open_conversation>(c->what)) {
    const auto& d = std::get<core::done>(r.what);
    out.add(c->reply_to, c->number, core::opened{d.error, st.id, d.retry_after_ms});
  } else { // mark_read
    const core::answer written{std::in_place_index<3>, std::get<core::done>(r.what)};
    out.add(c->reply_to, c->number, written);
    if (!also.empty())
      for (auto& other : also.mapped())
        out.add(other.reply_to, other.number, written);
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
      [](inbox_arrival&) {}, // inboxes' alone
      [self](atom::sweep) {
        write_marks(self);
        passivate_if_idle(self, self->state, false);
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
