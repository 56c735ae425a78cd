#include "actors/resident.hpp"

#include <caf/stateful_actor.hpp>

namespace parley {
namespace {

struct account_state : resident_state {
  static inline const char* name = "account";
};

using self_ptr = account_actor::stateful_pointer<account_state>;

void handle(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  if (st.waiting.size() >= st.at.config.waiting_calls_max) {
    out.refuse(c, ec::overloaded, 200);
  } else if (auto* code = std::get_if<core::request_code>(&c.what)) {
    const auto expires = unix_ms{static_cast<std::int64_t>(code->at) + st.at.config.code_valid.count()};
    const core::command command{core::issue_code{code->phone, code->code_hash, code->at, expires}};
    propose(self, st, std::move(c), command);
  } else if (auto* code = std::get_if<core::confirm_code>(&c.what)) {
    const core::command command{core::redeem_code{code->phone, code->code_hash, code->candidate, code->at}};
    propose(self, st, std::move(c), command);
  } else if (auto* add = std::get_if<core::add_device>(&c.what)) {
    const core::command command{core::put_device{add->user, add->phone, add->device}};
    propose(self, st, std::move(c), command);
  } else {
    read_fresh(self, st, std::move(c));
  }
}

void finish(account_state& st, result& r, answers& out) {
  auto c = st.waiting.take(r.ticket);
  if (!c)
    return;
  if (r.error != ec::none)
    out.refuse(*c, r.error);
  else if (auto* ask = std::get_if<core::find_device>(&c->what))
    out.add(c->reply_to, c->number, st.at.reader->device(st.at.shard, ask->user, ask->device));
  else if (auto* ask = std::get_if<core::find_phone>(&c->what))
    out.add(c->reply_to, c->number, st.at.reader->phone(st.at.shard, ask->phone));
  else if (auto* redeemed = std::get_if<core::redeemed>(&r.what))
    out.add(c->reply_to, c->number, *redeemed);
  else { // request_code and add_device are both answered `done`: the call's place tells which
    auto a = core::refusal(c->what, ec::none);
    const auto& d = std::get<core::done>(r.what);
    std::visit(
        [&](auto& it) {
          if constexpr (std::is_same_v<std::decay_t<decltype(it)>, core::done>)
            it = d;
        },
        a);
    out.add(c->reply_to, c->number, std::move(a));
  }
}

account_actor::behavior_type account(self_ptr self, residence at) {
  self->state.at = std::move(at);
  return {
      [self](call_batch& batch) {
        take_calls(self, batch, [self](routed_call c, answers& out) { handle(self, std::move(c), out); });
      },
      [self](result_batch& batch) {
        take_results(self, batch, [self](result& r, answers& out) { finish(self->state, r, out); });
      },
      [](inbox_arrival&) {}, // inboxes' alone
      [self](atom::sweep) { passivate_if_idle(self, self->state, false); },
      [self](atom::stop) { stop(self); },
  };
}

} // namespace

account_actor spawn_account(caf::actor_system& sys, residence at) {
  return sys.spawn(account, std::move(at));
}

} // namespace parley
