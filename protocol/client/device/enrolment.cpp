#include "protocol/client/device/enrolment.hpp"

#include "protocol/client/store/keys.hpp"
#include "protocol/wire/codec.hpp"

namespace parley::client {

namespace {

/// Keeps `who`. A store that fails is this device's own trouble: the same call would meet it at every node.
result<nothing> keep(client_store& store, const identity& who) {
  try {
    store.set_identity(who);
    return {};
  } catch (const store_error& e) {
    return tl::unexpected{failure{ec::storage_failed, e.what(), {}, false, was_stored::unknown}};
  }
}

} // namespace

template <class T>
kj::Promise<result<T>> enrolment::ask(call_on<T> make) {
  const auto made = std::make_shared<call_on<T>>(std::move(make));
  // After a turn of the loop, because the timer of a program that did something else before stands still.
  return promises_.wrap(timer_.afterDelay(0 * kj::SECONDS)
                            .then([this, made] {
                              return attempt<T>(made, {config_.seeds.size(), first_seed_, config_.resend,
                                                       now(timer_) + config_.ask_timeout});
                            })
                            .eagerlyEvaluate(nullptr));
}

template <class T>
kj::Promise<result<T>> enrolment::attempt(std::shared_ptr<call_on<T>> make, enrolment_rules rules) {
  const auto to = config_.seeds[rules.seed()];
  return ask_node<T>(make, to)
      .then([](result<T>&& r) { return kj::mv(r); },
            [to](kj::Exception&& e) -> result<T> {
              return tl::unexpected{
                  failure{ec::unavailable, transport::to_string(to) + ": " + e.getDescription().cStr(), {}}};
            })
      .then([this, make, rules](result<T>&& r) mutable -> kj::Promise<result<T>> {
        if (r)
          return kj::mv(r);
        const auto retry = rules.again(r.error(), now(timer_), dice_);
        if (!retry)
          return kj::mv(r);
        if (retry->at_once)
          return attempt<T>(make, rules);
        return timer_.afterDelay(duration(retry->pause)).then([this, make, rules] {
          return attempt<T>(make, rules);
        });
      });
}

template <class T>
kj::Promise<result<T>> enrolment::ask_node(std::shared_ptr<call_on<T>> make, const server_address& at) {
  return timer_.timeoutAfter(duration(config_.dial_timeout), dialer_.dial(at))
      .then([this, make](kj::Own<line>&& l) -> kj::Promise<result<T>> {
        auto link = kj::heap<client_link>(kj::mv(l), timer_, config_.call_timeout);
        auto& gateway = link->gateway();
        auto call = gateway.helloRequest(request_size());
        call.setVersion(rpc::PROTOCOL_VERSION);
        auto ticket = link->begin_call();
        auto lost = link->over().then([]() -> result<T> { return tl::unexpected{refuse(ec::unavailable)}; });
        return call.send()
            .then([make, &gateway](auto&& answer) -> kj::Promise<result<T>> {
              if (auto f = wire::to_failure(answer.getError()); f.code != ec::none)
                return result<T>{tl::unexpected{kj::mv(f)}};
              return (*make)(gateway);
            })
            .exclusiveJoin(kj::mv(lost))
            .attach(kj::mv(ticket), kj::mv(link));
      });
}

namespace {

failure registered_already() {
  return {
      ec::bad_request, "This profile is registered already: give another --profile for another device.", {}};
}

struct issued {
  std::chrono::seconds good_for;
  std::string ticket;
};

} // namespace

kj::Promise<result<std::chrono::seconds>> enrolment::request_code(std::string phone) {
  using answer = result<issued>;
  using good_for = result<std::chrono::seconds>;
  auto mine = store_.who().value_or(identity{});
  // Refused here: a code on its way to a phone would be of no use, and is one less that the number may have.
  if (mine.registered())
    return good_for{tl::unexpected{registered_already()}};
  const auto request = ticket_rules{mine.tickets}.next(phone, make_ticket);
  const auto& ticket = request.ticket;
  if (!request.repeats)
    if (auto now = keep(store_, mine); !now)
      return good_for{tl::unexpected{std::move(now.error())}};
  return ask<issued>([phone, ticket](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
           auto call = gateway.requestCodeRequest(request_size(phone.size() + ticket.size()));
           call.setPhone(phone.c_str());
           call.setTicket(wire::as_data(ticket));
           return call.send().then([](auto&& a) -> answer {
             if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
               return tl::unexpected{std::move(f)};
             return issued{std::chrono::seconds{a.getExpiresInS()}, wire::bytes(a.getTicket())};
           });
         })
      .then([this, ticket](answer&& a) -> good_for {
        auto mine = store_.who().value_or(identity{});
        ticket_rules rules{mine.tickets};
        if (!a) {
          if (rules.refused(ticket, a.error()))
            (void)keep(store_, mine); // the refusal says more than a store that fails, too
          return tl::unexpected{std::move(a.error())};
        }
        rules.issued(ticket, std::move(a->ticket));
        if (const auto now = keep(store_, mine); !now)
          return tl::unexpected{now.error()};
        return a->good_for;
      });
}

kj::Promise<result<identity>> enrolment::register_device(std::string phone, std::string code,
                                                         std::string name) {
  using answer = result<identity>;
  auto mine = store_.who().value_or(identity{});
  if (mine.registered())
    return answer{tl::unexpected{registered_already()}};
  code_trial trial{ticket_rules{mine.tickets}.for_trial(phone)};
  if (trial.over())
    return answer{
        tl::unexpected{failure{ec::code_expired,
                               "This profile has not asked for a code for " + phone +
                                   ", and a code is good for the device that asked for it. Ask for one.",
                               {},
                               false,
                               was_stored::no}}};
  if (mine.key == key_pair{})
    mine.key = make_key();
  mine.phone = phone;
  if (auto now = keep(store_, mine); !now)
    return answer{tl::unexpected{std::move(now.error())}};
  return try_tickets(kj::heap<attempted>(
      attempted{std::move(mine), std::move(phone), std::move(code), std::move(name), std::move(trial)}));
}

kj::Promise<result<identity>> enrolment::try_tickets(kj::Own<attempted> a) {
  using answer = result<identity>;
  auto& it = *a;
  return ask<identity>([&it](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
           const auto& ticket = it.trial.ticket();
           auto call = gateway.registerRequest(
               request_size(it.phone.size() + it.code.size() + it.name.size() + ticket.size() + 32));
           call.setPhone(it.phone.c_str());
           call.setCode(it.code.c_str());
           call.setDeviceKey(kj::arrayPtr(it.mine.key.open.data(), it.mine.key.open.size()));
           call.setDeviceName(it.name.c_str());
           call.setTicket(wire::as_data(ticket));
           return call.send().then([&it](auto&& results) -> answer {
             if (auto f = wire::to_failure(results.getError()); f.code != ec::none)
               return tl::unexpected{std::move(f)};
             auto mine = it.mine;
             mine.user = user_id{results.getUser()};
             mine.device = device_id{results.getDevice()};
             mine.tickets.clear();
             return mine;
           });
         })
      .then([this, a = kj::mv(a)](answer&& r) mutable -> kj::Promise<answer> {
        if (!r) {
          if (a->trial.refused(std::move(r.error())))
            return try_tickets(kj::mv(a));
          return answer{tl::unexpected{a->trial.why()}};
        }
        if (auto now = keep(store_, *r); !now)
          return answer{tl::unexpected{std::move(now.error())}};
        who_ = *r;
        return kj::mv(r);
      });
}

} // namespace parley::client
