#pragma once
// What conversation, inbox and account have in common: where they live, whom they ask, when they go.
#include "actors/alarm.hpp"
#include "actors/answers.hpp"
#include "actors/core/trusted_time.hpp"
#include "actors/refused_calls.hpp"
#include "actors/state_reader.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/settings.hpp"
#include "protocol/values/wall_clock.hpp"

#include <chrono>
#include <optional>
#include <utility>

namespace parley {

struct resident_config {
  std::chrono::milliseconds sweep_every{
      1000}; ///< also how often coalesced watermarks and cursors are written
  std::chrono::milliseconds passivate_after = settings::passivate_after.standard;
  /// After three missed heartbeats (session_config::attach_every) a connection counts as gone.
  std::chrono::milliseconds silent_after{90'000};
  std::chrono::milliseconds code_valid = settings::code_life.standard; ///< of a registration code
  std::size_t waiting_calls_max = 4096;                                ///< per resident; above: overloaded
  std::int64_t conversation_burst_max = settings::conversation_sends_burst.standard; ///< messages
  std::chrono::microseconds conversation_refill_every =
      settings::interval(settings::conversation_sends_per_second.standard);
  const wall_clock* time_of_day = &system_time_of_day; ///< outlives the actors
  refused_calls* refused = nullptr;                    ///< the same; may be null
};
config_check validate(const resident_config& config);

using core::resident_kind;

/// Names a resident in its shard's registry.
struct resident_key {
  resident_kind kind{};
  std::uint64_t hi = 0, lo = 0;
  bool operator==(const resident_key&) const = default;
};
/// `nullopt`: the shard answers the call by itself.
std::optional<resident_key> resident_of(const core::call& c);
/// Whose rows its answer is read from.
read_subject read_subject_of(const core::call& c);

/// Everything a resident needs from its shard.
struct residence {
  shard_id shard{};
  core::format_number format{}; ///< of the shard; residents begin anew when it rises
  resident_key key;
  std::uint64_t handle = 0; ///< names this incarnation towards the shard
  resident_config config;
  state_reader* reader = nullptr; ///< outlives every actor
  store_actor store;
  router_actor router;
  shard_actor home;
};

/// Shared state of a resident's behaviour.
struct resident_state {
  residence at;
  waiting_calls waiting;
  std::chrono::steady_clock::time_point last_used{};
  /// When sweeps are due: the next one of those that follow calls and work, and the one that finds out
  /// whether the resident may go. At most one of each is armed.
  std::optional<std::chrono::steady_clock::time_point> sweep_due, idle_due;
  bool stopping = false;
  bool told_idle = false;
};

/// The time of day, as this leader knows it.
inline unix_ms now(const resident_state& st) {
  return st.at.config.time_of_day->now();
}
/// What a gateway stamped with `said`, as the log takes it.
inline unix_ms trusted(const resident_state& st, unix_ms said) {
  return core::trusted(said, now(st));
}

/// Proposes for `self`; its answer comes back as a `result` with the call's ticket.
template <class Self>
std::uint64_t propose(Self* self, resident_state& st, routed_call c, const core::command& what) {
  const auto ticket = st.waiting.wait(std::move(c));
  proposal_batch batch;
  batch.proposals.push_back(
      make_proposal(st.at.shard, st.at.format, ticket, caf::actor_cast<result_sink>(self), what));
  caf::anon_send(st.at.store, std::move(batch));
  return ticket;
}

/// Keeps a call until a new read transaction shows all that was acknowledged before now.
template <class Self>
void read_fresh(Self* self, resident_state& st, routed_call c) {
  const auto about = read_subject_of(c.what);
  const auto ticket = st.waiting.wait(std::move(c));
  caf::anon_send(st.at.store, fresh_read{st.at.shard, ticket, caf::actor_cast<result_sink>(self), about});
}

/// A sweep comes `in` from now, or before if one is armed already.
template <class Self>
void arm_sweep(Self* self, std::optional<std::chrono::steady_clock::time_point>& due,
               std::chrono::milliseconds in) {
  if (due)
    return;
  due = self->clock().now() + in;
  sweep_later(self, in);
}
template <class Self>
void arm_sweep(Self* self, resident_state& st) {
  arm_sweep(self, st.sweep_due, st.at.config.sweep_every);
}

/// What is left to do when a sweep ends.
enum class duty {
  none, ///< the resident goes when nobody has used it for a while
  held, ///< it has to stay, but only messages give it something to do
  work, ///< something is written by a later sweep
};

/// A sweep's end. Without work none follows, because there are as many residents as there are users online;
/// the next call arms one. When nothing is left to do and nobody has used the resident for a while, the shard
/// is sent `resident_idle`. It answers with `stop`, in order with the calls that it forwarded before, so no
/// call is lost.
template <class Self>
void end_sweep(Self* self, resident_state& st, duty left) {
  const auto now = self->clock().now();
  for (auto* due : {&st.sweep_due, &st.idle_due})
    if (*due && **due <= now)
      due->reset();
  st.waiting.release_if_empty();
  if (left == duty::work || !st.waiting.empty())
    return arm_sweep(self, st);
  if (left == duty::held)
    return;
  const auto unused = now - st.last_used;
  if (unused < st.at.config.passivate_after) {
    const auto in = std::chrono::ceil<std::chrono::milliseconds>(st.at.config.passivate_after - unused);
    return arm_sweep(self, st.idle_due, in);
  }
  if (!std::exchange(st.told_idle, true))
    caf::anon_send(st.at.home, resident_idle{st.at.handle});
}

/// Refuses a call of a resident for which as many wait as may.
inline void refuse_for_room(const resident_state& st, const routed_call& c, answers& out,
                            std::uint32_t retry_after_ms) {
  count(st.at.config.refused, &refused_calls::calls_of_resident);
  out.refuse(c, ec::overloaded, retry_after_ms);
}

/// One turn's calls: `handle(call, out)` for each, unless too many wait already. If one makes the actor
/// crash, that call and those behind it are answered `internal`; an asker ignores a second answer.
template <class Self, class F>
void take_calls(Self* self, call_batch& batch, F handle) {
  answers out;
  const resident_state& st = self->state;
  self->state.last_used = self->clock().now();
  for (auto c = batch.calls.begin(); c != batch.calls.end(); ++c) {
    const asker who{*c};
    try {
      if (st.waiting.size() >= st.at.config.waiting_calls_max)
        refuse_for_room(st, *c, out, 200);
      else
        handle(std::move(*c), out);
    } catch (...) {
      out.refuse(who, ec::internal);
      for (++c; c != batch.calls.end(); ++c)
        out.refuse(*c, ec::internal);
      throw;
    }
  }
  arm_sweep(self, self->state);
}

/// After `stop`: quits once no call waits any more.
template <class Self>
void quit_if_done(Self* self) {
  if (self->state.stopping && self->state.waiting.empty())
    self->quit();
}

/// One turn's results: `finish(result, out)` for each.
template <class Self, class F>
void take_results(Self* self, result_batch& batch, F finish) {
  answers out;
  for (auto& r : batch.results) {
    const auto* waiting = self->state.waiting.find(r.ticket);
    const auto who = waiting ? std::optional<asker>{*waiting} : std::nullopt;
    try {
      finish(r, out);
    } catch (...) { // the others are still in `waiting`, whose destructor answers them
      if (who)
        out.refuse(*who, ec::internal);
      throw;
    }
  }
  quit_if_done(self);
}

template <class Self>
void stop(Self* self) {
  self->state.stopping = true;
  quit_if_done(self);
}

conversation_actor spawn_conversation(caf::actor_system& sys, residence at);
inbox_actor spawn_inbox(caf::actor_system& sys, residence at);
account_actor spawn_account(caf::actor_system& sys, residence at);

} // namespace parley
