#include "protocol/client/device/session_calls.hpp"

namespace parley::client {

template <class T>
kj::Promise<result<T>> session_calls::ask(call_on<T> make) {
  const auto made = std::make_shared<call_on<T>>(std::move(make));
  // After a turn of the loop, because the timer of a program that did something else before stands still.
  return promises_.wrap(timer_.afterDelay(0 * kj::SECONDS)
                            .then([this, made] {
                              return attempt<T>(made, {config_.resend, now(timer_) + config_.ask_timeout});
                            })
                            .eagerlyEvaluate(nullptr));
}

template <class T>
kj::Promise<result<T>> session_calls::attempt(std::shared_ptr<call_on<T>> make, ask_rules rules) {
  if (host_.halted())
    return result<T>{tl::unexpected{host_.why_halted()}};
  if (rules.over(now(timer_))) {
    const auto& last = host_.last_failure();
    return result<T>{tl::unexpected{last.code == ec::none ? refuse(ec::timed_out) : last}};
  }
  return host_.session_or(point(rules.deadline()))
      .then([this, make]() -> kj::Promise<result<T>> {
        auto* link = host_.link();
        if (!link) {
          const auto& last = host_.last_failure();
          return result<T>{tl::unexpected{last.code == ec::none ? refuse(ec::unavailable) : last}};
        }
        auto ticket = link->begin_call();
        return (*make)(*link).attach(kj::mv(ticket));
      })
      .then([](result<T>&& r) { return kj::mv(r); },
            [](kj::Exception&& e) -> result<T> {
              // What a lost connection leaves behind: worth another attempt.
              return tl::unexpected{failure{ec::unavailable, e.getDescription().cStr(), {}}};
            })
      .then([this, make, rules](result<T>&& r) mutable -> kj::Promise<result<T>> {
        if (r)
          return kj::mv(r);
        host_.consider(r.error());
        const auto wait = rules.again(r.error(), now(timer_), dice_);
        if (!wait)
          return kj::mv(r);
        return timer_.afterDelay(duration(*wait)).then([this, make, rules] {
          return attempt<T>(make, rules);
        });
      });
}

kj::Promise<result<opened_direct>> session_calls::open_direct(user_id user, std::string phone) {
  using answer = result<opened_direct>;
  return ask<opened_direct>([user, phone = std::move(phone)](client_link& link) -> kj::Promise<answer> {
    auto call = link.session().openDirectRequest(request_size(phone.size()));
    call.setUser(number(user));
    call.setPhone(phone.c_str());
    return call.send().then([](auto&& a) -> answer {
      if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      return opened_direct{wire::to_conversation(a.getConversation()), user_id{a.getUser()}};
    });
  });
}

kj::Promise<result<conversation_list>> session_calls::conversations(conversation_id after,
                                                                    std::uint32_t limit) {
  using answer = result<conversation_list>;
  return ask<conversation_list>([after, limit](client_link& link) -> kj::Promise<answer> {
    auto call = link.session().conversationsRequest(request_size());
    wire::write(call.initAfter(), after);
    call.setLimit(limit);
    return call.send().then([](auto&& a) -> answer {
      if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      return wire::to_list(a);
    });
  });
}

kj::Promise<result<conversation_page>> session_calls::sync_conversation(conversation_id c, seq_no after,
                                                                        std::uint32_t limit) {
  using answer = result<conversation_page>;
  return ask<conversation_page>([this, c, after, limit](client_link& link) -> kj::Promise<answer> {
    auto e = history_.event(history_event::kind::invoke, history_event::what::sync);
    e.conversation = c;
    e.prev = after;
    history_.write(e);
    auto call = link.session().syncConversationRequest(request_size());
    wire::write(call.initConversation(), c);
    call.setAfter(number(after));
    call.setLimit(limit);
    return call.send().then([this, e](auto&& a) mutable -> answer {
      e.at = history_.event(e.type, e.f).at;
      if (auto f = wire::to_failure(a.getError()); f.code != ec::none) {
        e.type = history_event::kind::fail; // a read that is refused has read nothing
        e.error = f.code;
        history_.write(e);
        return tl::unexpected{std::move(f)};
      }
      const auto page = wire::to_page(a);
      e.type = history_event::kind::ok;
      e.seq = page.last;
      e.page = &page;
      history_.write(e);
      return page;
    });
  });
}

kj::Promise<result<inbox_page>> session_calls::sync_inbox(cursor from, std::uint32_t limit) {
  using answer = result<inbox_page>;
  return ask<inbox_page>([from = std::move(from), limit](client_link& link) -> kj::Promise<answer> {
    auto call = link.session().syncRequest(request_size(from.size()));
    call.setCursor(wire::as_data(from));
    call.setLimit(limit);
    return call.send().then([](auto&& a) -> answer {
      if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      return inbox_page{wire::to_items(a.getItems()), wire::bytes(a.getNext()), a.getMore(), standing_in(a)};
    });
  });
}

} // namespace parley::client
