#include "actors/session.hpp"

#include "actors/alarm.hpp"
#include "actors/answers.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>

namespace parley {

namespace {

using clock_point = std::chrono::steady_clock::time_point;

/// The session's own calls share a table with the gateway's. They are numbered from here; the gateway counts
/// from 1 and does not reach that number.
constexpr std::uint64_t first_own_call = std::uint64_t{1} << 62;

bool is_own(std::uint64_t call_number) {
  return call_number >= first_own_call;
}

enum class stream { off, pulling, live, full };

struct session_state {
  static inline const char* name = "session";
  session_identity who;
  session_config config;
  std::shared_ptr<session_port> port;
  std::shared_ptr<delivery_queue> box;
  router_actor router;
  struct open_call {
    core::call_kind kind{};
    clock_point deadline{};
  };
  std::unordered_map<std::uint64_t, open_call> open;
  std::uint64_t next_own = first_own_call;
  stream mode = stream::off;
  std::uint64_t stream_number = 0; ///< of the newest `start_streaming`
  inbox_pos last{};                ///< everything up to here was put into the delivery queue
  bool pushed_while_pulling = false;
  std::uint64_t pull_number = 0; ///< of the newest pull: answers to earlier ones are ignored
  /// The client began to receive anew while that pull was under way, which is for a stream that was replaced.
  bool restarted = false;
  std::uint64_t attach_number = 0;
  inbox_pos acked{};     ///< as the client said, to this session or to an earlier one
  bool attached = false; ///< since the first attach: the session is usable
  bool sweeping = false;
  clock_point sweep_at{}; ///< when the sweep is due; far away if the connection is idle
  bool over = false;
  clock_point attach_at{}; ///< next heartbeat
};

using self_ptr = session_actor::stateful_pointer<session_state>;

void arm_sweep(self_ptr self, std::chrono::milliseconds in) {
  auto& st = self->state;
  const auto at = self->clock().now() + in;
  if (st.over || (st.sweeping && st.sweep_at <= at))
    return;
  // Arm an earlier timer although one is set: otherwise an overdue call is noticed only at the next heartbeat,
  // up to 30 s later. The old timer still fires and does nothing.
  st.sweeping = true;
  st.sweep_at = at;
  sweep_later(self, in);
}

/// Sends one of the session's own calls; its answer is handled here.
std::uint64_t ask(self_ptr self, core::call what, std::chrono::milliseconds within) {
  auto& st = self->state;
  const auto n = st.next_own++;
  st.open[n] = {kind_of(what), self->clock().now() + within};
  call_batch batch;
  batch.calls.push_back({n, caf::actor_cast<answer_sink>(self), std::move(what)});
  caf::anon_send(st.router, std::move(batch));
  arm_sweep(self, st.config.sweep_every);
  return n;
}

std::uint64_t ask(self_ptr self, core::call what) {
  return ask(self, std::move(what), self->state.config.own_answer_within);
}

void attach(self_ptr self) {
  auto& st = self->state;
  st.attach_at = self->clock().now() + st.config.attach_every;
  const auto& who = st.who;
  // Until the cluster has said that the key is the device's, the session is nobody's. Nobody repeats a login but the
  // client, so it may wait for an election.
  st.attach_number =
      who.key && !st.attached
          ? ask(self, core::call{core::log_in{who.user, who.device, who.ref, who.session, *who.key}},
                st.config.answer_within)
          : ask(self, core::call{core::attach{who.user, who.device, who.ref, who.session}});
}

void pull(self_ptr self) {
  auto& st = self->state;
  st.mode = stream::pulling;
  st.pushed_while_pulling = false;
  st.restarted = false;
  st.pull_number =
      ask(self, core::call{core::pull_inbox{st.who.user, st.who.device, st.last, st.config.pull_rows, 1,
                                            st.who.ref, st.who.session}});
}

/// The client begins to receive. However often it does so, one page is read at a time: the rows of other sessions wait
/// for it, and a call for it costs the client a few bytes.
void start(self_ptr self, const start_streaming& from) {
  auto& st = self->state;
  if (st.over)
    return;
  st.last = from.after;
  st.stream_number = from.stream;
  if (st.mode == stream::pulling && st.open.contains(st.pull_number))
    st.restarted = true; // its answer, or its deadline, is followed by the next pull
  else
    pull(self);
}

void close(self_ptr self, ec why) {
  auto& st = self->state;
  if (st.over)
    return;
  st.over = true;
  st.mode = stream::off;
  st.port->closed(why);
}

/// Puts rows that follow `st.last` into the delivery queue. False if not all of them fitted.
bool put(session_state& st, std::vector<core::inbox_row>& rows, core::moment applied_at = {}) {
  if (rows.empty())
    return true;
  std::vector<inbox_pos> positions;
  positions.reserve(rows.size());
  for (const auto& r : rows)
    positions.push_back(r.pos);
  const auto n = st.box->put(rows, applied_at, st.stream_number);
  if (n > 0) {
    st.last = positions[n - 1];
    st.port->rows_ready();
  }
  return n == rows.size();
}

void pulled(self_ptr self, core::inbox_page& page) {
  auto& st = self->state;
  if (page.error == ec::fenced) {
    close(self, ec::fenced);
    return;
  }
  if (st.restarted) {
    pull(self);
    return;
  }
  if (page.error != ec::none && !describe(page.error).retryable) {
    close(self, page.error); // the cursor is not of this inbox
    return;
  }
  if (page.error != ec::none) { // no leader at the moment, or too busy: the sweep pulls again
    arm_sweep(self, st.config.pull_retry_after);
    return;
  }
  if (!put(st, page.rows)) {
    st.mode = stream::full; // when rows were taken, the rest is pulled
    return;
  }
  st.last = std::max(st.last, page.next);
  if (page.more != 0 || st.pushed_while_pulling)
    pull(self);
  else
    st.mode = stream::live;
}

void attach_answered(self_ptr self, const core::attached& a) {
  auto& st = self->state;
  if (a.error == ec::fenced) {
    close(self, ec::fenced);
    return;
  }
  if (a.error != ec::none) {
    if (describe(a.error).retryable && st.attached) {
      st.attach_at = self->clock().now() + st.config.pull_retry_after;
      arm_sweep(self, st.config.pull_retry_after);
    } else if (st.attached) {
      close(self, a.error);
    }
    return;
  }
  st.attached = true;
  if (a.acknowledged < st.acked) // the previous leader had it in memory only
    ask(self, core::call{core::acknowledge{st.who.user, st.who.device, st.acked}});
  // This one may have it in memory only, too, and the device's earlier session, which could repeat it, is gone.
  if (!planted("earlier-ack-forgotten"))
    st.acked = std::max(st.acked, a.acknowledged);
  if (st.mode == stream::live && (a.live == 0 || a.last > st.last))
    pull(self);
}

/// One of the session's own calls was answered: `pull_inbox`, `attach`, `log_in` or `acknowledge`. Nothing
/// waits for the last.
void own_answered(self_ptr self, std::uint64_t call_number, core::answer& what) {
  auto& st = self->state;
  const auto* state = core::answer_if<core::attach>(what);
  if (state == nullptr)
    state = core::answer_if<core::log_in>(what);
  if (auto* page = core::answer_if<core::pull_inbox>(what)) {
    if (call_number == st.pull_number && st.mode == stream::pulling)
      pulled(self, *page);
  } else if (state != nullptr) {
    if (call_number != st.attach_number)
      return;
    const bool first = !st.attached;
    attach_answered(self, *state);
    if (first || state->error == ec::none)
      st.port->attached(*state);
  }
}

void answered(self_ptr self, answer_batch& batch) {
  auto& st = self->state;
  std::vector<numbered_answer> out;
  for (auto& a : batch.answers) {
    const auto open = st.open.find(a.number);
    // An answer of another kind than the call is wrong. The call keeps waiting for the right one.
    if (open == st.open.end() || open->second.kind != kind_of(a.what))
      continue;
    st.open.erase(open);
    if (is_own(a.number))
      own_answered(self, a.number, a.what);
    else
      out.push_back(std::move(a));
  }
  if (!out.empty())
    st.port->answered(std::move(out));
}

void deliver(self_ptr self, delivery_batch& batch) {
  auto& st = self->state;
  for (auto& d : batch.deliveries) {
    if (d.to != st.who.ref && !planted("push-to-later-process"))
      continue;
    if (d.close != ec::none) {
      close(self, d.close);
    } else if (st.mode == stream::pulling) {
      st.pushed_while_pulling = true;
    } else if (st.mode == stream::live) {
      const bool missed = d.rows.empty() ? d.after > st.last : d.after != st.last;
      if (missed)
        pull(self); // rows were lost on the way
      else if (!put(st, d.rows, d.applied_at))
        st.mode = stream::full;
    }
  }
}

void submit(self_ptr self, call_batch& batch) {
  auto& st = self->state;
  const auto now = self->clock().now();
  std::vector<numbered_answer> refused;
  call_batch out;
  for (auto& c : batch.calls) {
    if (st.open.size() >= st.config.calls_max) {
      count(st.config.refused, &refused_calls::calls_of_session);
      refused.push_back({c.number, core::refusal(c.what, ec::overloaded, 200)});
      continue;
    }
    if (auto* ack = std::get_if<core::acknowledge>(&c.what))
      st.acked = std::max(st.acked, ack->upto);
    st.open[c.number] = {kind_of(c.what), now + st.config.answer_within};
    c.reply_to = caf::actor_cast<answer_sink>(self);
    out.calls.push_back(std::move(c));
  }
  if (!refused.empty())
    st.port->answered(std::move(refused));
  if (out.calls.empty())
    return;
  caf::anon_send(st.router, std::move(out));
  arm_sweep(self, st.config.sweep_every);
}

void sweep(self_ptr self) {
  auto& st = self->state;
  const auto now = self->clock().now();
  if (!st.sweeping || now < st.sweep_at)
    return;
  st.sweeping = false;
  if (st.over)
    return;
  answer_batch overdue;
  for (const auto& [n, c] : st.open)
    if (c.deadline <= now)
      overdue.answers.push_back({n, core::refusal(c.kind, ec::timed_out)});
  if (!overdue.answers.empty())
    answered(self, overdue);
  if (st.open.empty()) { // an idle connection keeps neither hash buckets nor room for rows
    decltype(st.open){}.swap(st.open);
    st.box->release_if_empty();
  }
  if (st.mode == stream::pulling && !st.open.contains(st.pull_number))
    pull(self);
  if (st.who.has_user() && st.attached && st.attach_at <= now && !st.open.contains(st.attach_number))
    attach(self);
  if (!st.open.empty())
    arm_sweep(self, st.config.sweep_every);
  else if (st.who.has_user())
    arm_sweep(self, std::max(st.config.pull_retry_after,
                             std::chrono::duration_cast<std::chrono::milliseconds>(st.attach_at - now)));
}

session_actor::behavior_type session(self_ptr self, session_identity who, session_config config,
                                     std::shared_ptr<session_port> port, std::shared_ptr<delivery_queue> box,
                                     router_actor router) {
  auto& st = self->state;
  st.who = who;
  st.config = config;
  st.port = std::move(port);
  st.box = std::move(box);
  st.router = std::move(router);
  if (who.has_user()) {
    caf::anon_send(st.router, session_here{who.ref.number, who.user, caf::actor_cast<session_actor>(self)});
    attach(self);
  }
  return {
      [self](call_batch& batch) { submit(self, batch); },
      [self](answer_batch& batch) { answered(self, batch); },
      [self](delivery_batch& batch) { deliver(self, batch); },
      [self](const start_streaming& from) { start(self, from); },
      [self](atom::took) {
        if (self->state.mode == stream::full)
          pull(self);
      },
      [self](atom::rehome) {
        if (!self->state.attached || planted("rehome-ignored"))
          return;
        attach(self);
        if (self->state.mode == stream::live || self->state.mode == stream::pulling)
          pull(self); // the new leader's inbox does not know that this session is live
      },
      [self](atom::sweep) { sweep(self); },
      [self](atom::stop) {
        auto& st = self->state;
        st.over = true;
        if (st.who.has_user()) {
          caf::anon_send(st.router, session_gone{st.who.ref.number});
          call_batch bye; // nothing waits for the answer
          bye.calls.push_back(
              {0, answer_sink{}, core::call{core::detach{st.who.user, st.who.device, st.who.ref}}});
          caf::anon_send(st.router, std::move(bye));
        }
        self->quit();
      },
  };
}

} // namespace

config_check validate(const session_config& config) {
  if (config.queue_rows_max < 1)
    return config_fault{"queue_rows_max"};
  if (config.queue_bytes_max < (1 << 16) + 1024)
    return config_fault{"queue_bytes_max"};
  if (config.pull_rows < 1)
    return config_fault{"pull_rows"};
  if (config.calls_max < 1)
    return config_fault{"calls_max"};
  if (config.sweep_every.count() < 1)
    return config_fault{"sweep_every"};
  if (config.answer_within < config.sweep_every)
    return config_fault{"answer_within"};
  if (config.own_answer_within < config.sweep_every)
    return config_fault{"own_answer_within"};
  if (config.attach_every < config.answer_within)
    return config_fault{"attach_every"};
  if (config.sends_burst_max < 1)
    return config_fault{"sends_burst_max"};
  if (config.sends_refill_every.count() < 1)
    return config_fault{"sends_refill_every"};
  if (config.calls_burst_max < config.sends_burst_max)
    return config_fault{"calls_burst_max"};
  if (config.calls_refill_every.count() < 1 || config.calls_refill_every > config.sends_refill_every)
    return config_fault{"calls_refill_every"};
  return std::nullopt;
}

std::shared_ptr<user_rates> make_rates(const session_config& c) {
  return std::make_shared<user_rates>(user_rates::rate{c.sends_burst_max, c.sends_refill_every},
                                      user_rates::rate{c.calls_burst_max, c.calls_refill_every});
}

session_actor spawn_session(caf::actor_system& sys, session_identity who, session_config config,
                            std::shared_ptr<session_port> port, std::shared_ptr<delivery_queue> box,
                            router_actor router) {
  return sys.spawn(session, who, config, std::move(port), std::move(box), std::move(router));
}

} // namespace parley
