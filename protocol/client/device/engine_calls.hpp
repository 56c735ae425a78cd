#pragma once
// The templates of `engine`: a call is made when there is a session, and again while trying again may help.
#include "protocol/client/device/engine.hpp"

namespace parley::client {

template <class T>
kj::Promise<result<T>> engine::ask(call_on<T> make) {
  const auto deadline = timer_.now() + duration(config_.ask_timeout);
  return promises_.wrap(
      attempt<T>(std::make_shared<call_on<T>>(std::move(make)), deadline, backoff{config_.resend}));
}

template <class T>
kj::Promise<result<T>> engine::attempt(std::shared_ptr<call_on<T>> make, kj::TimePoint deadline,
                                       backoff pace) {
  if (halted())
    return result<T>{tl::unexpected{failure{state_.why, state_.sentence, {}}}};
  if (timer_.now() >= deadline)
    return result<T>{tl::unexpected{last_failure_.code == ec::none ? refuse(ec::timed_out) : last_failure_}};
  return session_or(deadline)
      .then([this, make]() -> kj::Promise<result<T>> {
        if (!link_)
          return result<T>{tl::unexpected{refuse(ec::unavailable)}};
        auto ticket = link_->begin_call();
        return (*make)(*link_).attach(kj::mv(ticket));
      })
      .then([](result<T>&& r) { return kj::mv(r); },
            [](kj::Exception&& e) -> result<T> {
              // What a lost connection leaves behind: worth another try.
              return tl::unexpected{failure{ec::unavailable, e.getDescription().cStr(), {}}};
            })
      .then([this, make, deadline, pace](result<T>&& r) mutable -> kj::Promise<result<T>> {
        if (r)
          return kj::mv(r);
        consider(r.error());
        if (!r.error().retryable || timer_.now() >= deadline)
          return kj::mv(r);
        const auto wait = std::max(pace.next(dice_), r.error().retry_after);
        return timer_.afterDelay(duration(wait)).then([this, make, deadline, pace] {
          return attempt<T>(make, deadline, pace);
        });
      });
}

template <class T>
kj::Promise<result<T>>
engine::at_gateway(std::shared_ptr<std::function<kj::Promise<result<T>>(rpc::Gateway::Client&)>> make,
                   kj::TimePoint deadline, backoff pace, std::size_t tried) {
  const auto to = config_.seeds[(seed_ + tried) % config_.seeds.size()];
  return timer_.timeoutAfter(duration(config_.dial_timeout), dialer_.dial(to))
      .then([this, make](kj::Own<line>&& l) -> kj::Promise<result<T>> {
        auto w = kj::heap<client_link>(kj::mv(l), timer_, config_.call_timeout);
        auto& gateway = w->gateway();
        auto call = gateway.helloRequest(request_size());
        call.setVersion(rpc::PROTOCOL_VERSION);
        auto ticket = w->begin_call();
        auto lost = w->over().then([]() -> result<T> { return tl::unexpected{refuse(ec::unavailable)}; });
        return call.send()
            .then([make, &gateway](auto&& answer) -> kj::Promise<result<T>> {
              if (auto f = to_failure(answer.getError()); f.code != ec::none)
                return result<T>{tl::unexpected{kj::mv(f)}};
              return (*make)(gateway);
            })
            .exclusiveJoin(kj::mv(lost))
            .attach(kj::mv(ticket), kj::mv(w));
      })
      .then([](result<T>&& r) { return kj::mv(r); },
            [to](kj::Exception&& e) -> result<T> {
              return tl::unexpected{
                  failure{ec::unavailable, transport::to_string(to) + ": " + e.getDescription().cStr(), {}}};
            })
      .then([this, make, deadline, pace, tried](result<T>&& r) mutable -> kj::Promise<result<T>> {
        const bool elsewhere = !r && r.error().retryable && r.error().code != ec::rate_limited &&
                               r.error().code != ec::code_send_failed;
        if (!elsewhere || timer_.now() >= deadline)
          return kj::mv(r);
        // All seeds once without waiting; then all of them again after a pause.
        if ((tried + 1) % config_.seeds.size() != 0)
          return at_gateway<T>(make, deadline, pace, tried + 1);
        return timer_.afterDelay(duration(pace.next(dice_))).then([this, make, deadline, pace, tried] {
          return at_gateway<T>(make, deadline, pace, tried + 1);
        });
      });
}

} // namespace parley::client
