#include "actors/resident.hpp"
#include "protocol/values/overloaded.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <caf/stateful_actor.hpp>

namespace parley {
namespace {

struct account_state : resident_state {
  static inline const char* name = "account";
};

using self_ptr = account_actor::stateful_pointer<account_state>;

/// A device keeps its key and is never removed, and neither is a user: what an old view has is still so. What it
/// does not have may have come meanwhile.
bool is_final(const core::found_device& found, const core::find_device& ask) {
  const bool user_only = ask.device == device_id{};
  return found.error == ec::none || (user_only && found.error == ec::no_such_user && found.devices != 0);
}

void handle(self_ptr self, routed_call c, answers& out) {
  auto& st = self->state;
  const auto put = [&](const core::command& command) { propose(self, st, std::move(c), command); };
  std::visit(
      overloaded{
          // Both times of a code, its begin and the one at which it is judged, are this leader's: gateways'
          // clocks differ by more than the life of a code may be.
          [&](const core::request_code& x) {
            const auto at = now(st);
            const auto expires = unix_ms{static_cast<std::int64_t>(at) + st.at.config.code_valid.count()};
            put(core::issue_code{x.phone, x.code_hash, at, expires, x.ticket, x.by});
          },
          [&](const core::report_code& x) {
            put(core::settle_code{x.phone, x.ticket, x.code_hash, x.sent});
          },
          [&](const core::confirm_code& x) {
            put(core::redeem_code{x.phone, x.code_hash, x.candidate, now(st), x.key_hash, x.ticket});
          },
          [&](const core::add_device& x) {
            auto device = x.device;
            device.since = trusted(st, device.since);
            put(core::put_device{x.user, x.phone, std::move(device)});
          },
          [&](const core::find_device& x) {
            auto found = st.at.reader->device(st.at.shard, x.user, x.device);
            if (is_final(found, x))
              out.answer<core::find_device>(c, std::move(found));
            else
              read_fresh(self, st, std::move(c));
          },
          [&](const core::find_phone& x) {
            if (planted("phone-from-old-view"))
              out.answer<core::find_phone>(c, st.at.reader->phone(st.at.shard, x.phone));
            else
              read_fresh(self, st, std::move(c));
          },
          [&](const core::served_elsewhere<resident_kind::account> auto&) {
            out.refuse(c, ec::internal); // resident_of names another resident for it
          },
      },
      c.what);
}

void finish(account_state& st, result& r, answers& out) {
  const auto c = take_or_refuse(st.waiting, r, out);
  if (!c)
    return;
  std::visit(
      overloaded{
          [&](const core::request_code&) {
            out.answer<core::request_code>(*c, std::get<core::code_issued>(r.what));
          },
          [&](const core::report_code&) { out.answer<core::report_code>(*c, std::get<core::done>(r.what)); },
          [&](const core::confirm_code&) {
            out.answer<core::confirm_code>(*c, std::get<core::redeemed>(r.what));
          },
          [&](const core::add_device&) { out.answer<core::add_device>(*c, std::get<core::done>(r.what)); },
          [&](const core::find_device& x) {
            out.answer<core::find_device>(*c, st.at.reader->device(st.at.shard, x.user, x.device));
          },
          [&](const core::find_phone& x) {
            out.answer<core::find_phone>(*c, st.at.reader->phone(st.at.shard, x.phone));
          },
          [&](const core::served_elsewhere<resident_kind::account> auto&) { out.refuse(*c, ec::internal); },
      },
      c->what);
}

account_actor::behavior_type account(self_ptr self, residence at) {
  self->state.at = std::move(at);
  // It keeps nothing between two calls, and strangers may ask for codes of any number of phones.
  auto& passivate_after = self->state.at.config.passivate_after;
  passivate_after = std::min(passivate_after, self->state.at.config.sweep_every);
  return {
      [self](call_batch& batch) {
        take_calls(self, batch, [self](routed_call c, answers& out) { handle(self, std::move(c), out); });
      },
      [self](result_batch& batch) {
        take_results(self, batch, [self](result& r, answers& out) { finish(self->state, r, out); });
      },
      [](inbox_arrival&) {}, // only inboxes get them
      [self](atom::sweep) { end_sweep(self, self->state, duty::none); },
      [self](atom::stop) { stop(self); },
  };
}

} // namespace

account_actor spawn_account(caf::actor_system& sys, residence at) {
  return sys.spawn(account, std::move(at));
}

} // namespace parley
