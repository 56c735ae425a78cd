#include "actors/fan_out.hpp"

#include "actors/core/debt_ledger.hpp"

#include <algorithm>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <cstdlib>
#include <string_view>

namespace parley {
namespace {

struct fan_out_state {
  static inline const char* name = "fan-out";
  shard_id shard{};
  fan_out_config config;
  state_reader* reader = nullptr;
  store_actor store;
  router_actor router;
  core::debt_ledger ledger{1, 1, 1};
  std::uint64_t highest_heard = 0;
  std::uint64_t confirm_proposed = 0;
  std::chrono::steady_clock::time_point confirmed_at{};
  bool sweeping = false;
};

using self_ptr = fan_out_actor::stateful_pointer<fan_out_state>;

void arm_sweep(self_ptr self) {
  auto& st = self->state;
  if (st.sweeping)
    return;
  st.sweeping = true;
  self->delayed_send(self, st.config.sweep_every, atom::sweep_v);
}

void load(fan_out_state& st) {
  while (auto from = st.ledger.load_from()) {
    auto rows = st.reader->debts(st.shard, *from, st.config.debts_max - st.ledger.size());
#ifdef PARLEY_PLANTED_BUGS // a harness proves that it would notice: see tests/chaos
    if (const char* bug = std::getenv("PARLEY_PLANT"); bug && std::string_view{bug} == "outbox-not-replayed")
      rows.clear();
#endif
    const auto last = rows.empty() ? 0 : rows.back().number;
    for (auto& row : rows)
      st.ledger.add(std::move(row), core::debt_ledger::source::outbox);
    st.ledger.loaded(std::max(last, st.highest_heard));
    if (last < st.highest_heard)
      return; // the rest is applied but not committed yet: the next sweep finds it
  }
}

/// Forgetting costs a log entry: seldom is enough.
void confirm(self_ptr self, fan_out_state& st) {
  const auto upto = st.ledger.confirmed();
  const auto now = self->clock().now();
  if (upto <= st.confirm_proposed || (upto < st.confirm_proposed + st.config.confirm_after &&
                                      now < st.confirmed_at + st.config.confirm_every))
    return;
  st.confirm_proposed = upto;
  st.confirmed_at = now;
  proposal_batch batch;
  batch.proposals.push_back(
      {st.shard, 0, result_sink{}, core::encode(core::command{core::confirm_outbox{upto}})});
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

fan_out_actor::behavior_type fan_out(self_ptr self, shard_id shard, fan_out_config config,
                                     state_reader* reader, store_actor store, router_actor router) {
  auto& st = self->state;
  st.shard = shard;
  st.config = config;
  st.reader = reader;
  st.store = std::move(store);
  st.router = std::move(router);
  st.ledger = core::debt_ledger{config.shards, config.debts_max, config.parts_max};
  self->send(self, atom::sweep_v); // begins with what is in the outbox
  st.sweeping = true;
  return {
      [self](debt_batch& batch) {
        auto& st = self->state;
        for (auto& d : batch.debts) {
          st.highest_heard = std::max(st.highest_heard, d.number);
          st.ledger.add(std::move(d), core::debt_ledger::source::live);
        }
        send(self);
        arm_sweep(self);
      },
      [self](answer_batch& batch) {
        auto& st = self->state;
        const auto log = [&st](conversation_id c, seq_no after, seq_no upto) {
          return st.reader->messages(st.shard, c, after, upto);
        };
        for (auto& a : batch.answers)
          if (auto* p = std::get_if<core::proposed>(&a.what))
            st.ledger.answered(a.number, p->error, p->what, log);
        confirm(self, st);
      },
      [](result_batch&) {}, // confirmations are repeated by what follows them
      [self](atom::sweep) {
        auto& st = self->state;
        st.sweeping = false;
        st.ledger.expire(self->clock().now() - st.config.answer_within);
        load(st);
        send(self);
        confirm(self, st);
        if (!st.ledger.idle() || st.ledger.confirmed() > st.confirm_proposed)
          arm_sweep(self);
      },
      [self](atom::stop) { self->quit(); },
  };
}

} // namespace

caf::error validate(const fan_out_config& config) {
  const auto bad = [](const char* field) {
    return caf::make_error(caf::sec::invalid_argument, std::string{"fan_out: "} + field);
  };
  if (config.shards < 1)
    return bad("shards");
  if (config.debts_max < 1)
    return bad("debts_max");
  if (config.parts_max < 1)
    return bad("parts_max");
  if (config.sweep_every.count() < 1)
    return bad("sweep_every");
  if (config.answer_within <= config.sweep_every)
    return bad("answer_within");
  return caf::none;
}

fan_out_actor spawn_fan_out(caf::actor_system& sys, shard_id shard, fan_out_config config,
                            state_reader& reader, store_actor store, router_actor router) {
  return sys.spawn(fan_out, shard, config, &reader, std::move(store), std::move(router));
}

} // namespace parley
