#include "actors/fan_out.hpp"

#include "actors/alarm.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <utility>

namespace parley {
namespace {

using clock_point = std::chrono::steady_clock::time_point;

struct fan_out_state {
  static inline const char* name = "fan-out";
  shard_id shard{};
  core::format_number format{};
  fan_out_config config;
  state_reader* reader = nullptr;
  store_actor store;
  router_actor router;
  core::debt_ledger ledger;
  core::delivered_debts delivered;
  std::chrono::milliseconds load_backoff{}; ///< zero if the stored debts could be read
  clock_point load_at{};
  ec unread{}; ///< why they could not be read, as it was reported last
  bool sweeping = false;
  std::size_t counted = 0; ///< of `owed`

  ~fan_out_state() { count(0); }
  void count(std::size_t owed) {
    if (config.counters) // unsigned arithmetic wraps: adding the difference is right in both directions
      add(config.counters->owed, std::uint64_t{owed} - counted);
    counted = owed;
  }
  void report(fan_out_trouble what, ec why) const {
    if (config.report)
      config.report(shard, what, why);
  }
  void report_reading(ec why) {
    if (why != ec::none && config.counters)
      add(config.counters->reads_failed);
    if (why != std::exchange(unread, why))
      report(fan_out_trouble::unread, why);
  }
  void report_refusals(const core::debt_ledger::refusals& refused) const {
    if (refused.count == 0)
      return;
    if (config.counters)
      add(config.counters->refused, refused.count);
    report(fan_out_trouble::refused, refused.last);
  }
};

using self_ptr = fan_out_actor::stateful_pointer<fan_out_state>;

void arm_sweep(self_ptr self) {
  auto& st = self->state;
  if (st.sweeping)
    return;
  st.sweeping = true;
  sweep_later(self, st.config.sweep_every);
}

core::debt_page read_debts(fan_out_state& st, std::uint64_t from) {
  if (planted("debts-not-replayed"))
    return {};
  return st.reader->debts(st.shard, from, st.config.ledger.debts_max - st.ledger.size());
}

/// Takes one page of the stored debts, if the ledger has room. Only a page that was read and is the last one
/// proves that nothing else is owed. What was committed within the last second may not be readable yet; it has come
/// live, and the ledger knows.
///
/// Returns whether another page should be taken at once. That is a turn of its own: a shard that was away for long
/// is found among the debts to all others, and nothing else of this thread must wait until they are all read.
bool load(self_ptr self) {
  auto& st = self->state;
  const auto now = self->clock().now();
  const auto from = now < st.load_at ? std::nullopt : st.ledger.load_from();
  if (!from)
    return false;
  const bool again = st.ledger.loads_again();
  auto page = read_debts(st, *from);
  st.report_reading(page.error);
  if (page.error != ec::none) {
    st.load_backoff = std::clamp(st.load_backoff * 2, st.config.ledger.retry.min, st.config.ledger.retry.max);
    st.load_at = now + st.load_backoff;
    return false;
  }
  st.load_backoff = {};
  const bool all_added = std::all_of(page.rows.begin(), page.rows.end(), [&](auto& row) {
    return st.ledger.add(std::move(row), core::debt_ledger::source::stored);
  });
  if (!again && all_added && !page.more)
    st.ledger.loaded(page.newest);
  const auto next = st.ledger.load_from();
  return next && *next != *from; // else what it lacks is not readable yet: the next sweep finds it
}

/// Proposes to forget the debts that are delivered, if that is due.
void confirm(self_ptr self) {
  auto& st = self->state;
  st.delivered.add(st.ledger.take_delivered());
  auto due = st.delivered.due(self->clock().now(), st.ledger.confirmed());
  if (!due)
    return;
  proposal_batch batch;
  batch.proposals.push_back(make_proposal(st.shard, st.format, due->ticket,
                                          caf::actor_cast<result_sink>(self), std::move(due->what)));
  caf::anon_send(st.store, std::move(batch));
}

void send(self_ptr self) {
  auto& st = self->state;
  auto calls = st.ledger.send(self->clock().now());
  if (calls.empty())
    return;
  call_batch batch;
  for (auto& c : calls)
    batch.calls.push_back({c.number, caf::actor_cast<answer_sink>(self), core::call{std::move(c.what)}});
  caf::anon_send(st.router, std::move(batch));
}

fan_out_actor::behavior_type fan_out(self_ptr self, shard_id shard, core::format_number format,
                                     fan_out_config config, state_reader* reader, store_actor store,
                                     router_actor router) {
  auto& st = self->state;
  st.shard = shard;
  st.format = format;
  st.config = config;
  st.reader = reader;
  st.store = std::move(store);
  st.router = std::move(router);
  st.ledger = core::debt_ledger{config.ledger, format};
  st.delivered = core::delivered_debts{config.forget};
  self->send(self, atom::sweep_v); // begins with the debts that are stored
  st.sweeping = true;
  return {
      [self](debt_batch& batch) {
        auto& st = self->state;
        for (auto& d : batch.debts)
          st.ledger.add(std::move(d), core::debt_ledger::source::live);
        st.count(st.ledger.size());
        send(self);
        arm_sweep(self);
      },
      [self](answer_batch& batch) {
        auto& st = self->state;
        const auto log = [&st](conversation_id c, seq_no after, seq_no upto) {
          return st.reader->messages(st.shard, c, after, upto);
        };
        for (auto& a : batch.answers)
          if (const auto* p = core::answer_if<core::propose>(a.what))
            st.report_refusals(st.ledger.answered(a.number, p->error, p->what, self->clock().now(), log));
        st.count(st.ledger.size());
        send(self);
        confirm(self);
      },
      [self](result_batch& batch) {
        auto& st = self->state;
        for (const auto& r : batch.results)
          st.delivered.answered(r.ticket, r.error == ec::none);
        if (!st.delivered.empty())
          arm_sweep(self);
      },
      [self](atom::sweep) {
        auto& st = self->state;
        st.sweeping = false;
        st.ledger.expire(self->clock().now() - st.config.answer_within);
        const bool more = load(self);
        st.count(st.ledger.size());
        send(self);
        confirm(self);
        if (more) {
          st.sweeping = true;
          self->send(self, atom::sweep_v);
        } else if (!st.ledger.idle() || !st.delivered.empty()) {
          arm_sweep(self);
        }
      },
      [self](atom::stop) { self->quit(); },
  };
}

} // namespace

config_check validate(const fan_out_config& config) {
  if (const auto fault = validate(config.ledger))
    return fault;
  if (config.sweep_every.count() < 1)
    return config_fault{"sweep_every"};
  if (config.answer_within <= config.sweep_every)
    return config_fault{"answer_within"};
  if (config.forget.after < 1)
    return config_fault{"forget.after"};
  if (config.forget.debts_max < config.forget.after)
    return config_fault{"forget.debts_max"};
  if (config.forget.ranges_max < 1)
    return config_fault{"forget.ranges_max"};
  if (config.forget.within.count() < 0)
    return config_fault{"forget.within"};
  return std::nullopt;
}

fan_out_actor spawn_fan_out(caf::actor_system& sys, shard_id shard, core::format_number format,
                            fan_out_config config, state_reader& reader, store_actor store,
                            router_actor router) {
  return sys.spawn(fan_out, shard, format, config, &reader, std::move(store), std::move(router));
}

} // namespace parley
