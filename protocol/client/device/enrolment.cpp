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
  const auto deadline = timer_.now() + duration(config_.ask_timeout);
  return promises_.wrap(
      attempt<T>(std::make_shared<call_on<T>>(std::move(make)), deadline, backoff{config_.resend}, 0));
}

template <class T>
kj::Promise<result<T>> enrolment::attempt(std::shared_ptr<call_on<T>> make, kj::TimePoint deadline,
                                          backoff pace, std::size_t tried) {
  const auto to = config_.seeds[(first_seed_ + tried) % config_.seeds.size()];
  return ask_node<T>(make, to)
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
          return attempt<T>(make, deadline, pace, tried + 1);
        return timer_.afterDelay(duration(pace.next(dice_))).then([this, make, deadline, pace, tried] {
          return attempt<T>(make, deadline, pace, tried + 1);
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

kj::Promise<result<std::chrono::seconds>> enrolment::request_code(std::string phone) {
  using answer = result<std::chrono::seconds>;
  return ask<std::chrono::seconds>(
      [phone = std::move(phone)](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
        auto call = gateway.requestCodeRequest(request_size(phone.size()));
        call.setPhone(phone.c_str());
        return call.send().then([](auto&& a) -> answer {
          if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
            return tl::unexpected{std::move(f)};
          return std::chrono::seconds{a.getExpiresInS()};
        });
      });
}

kj::Promise<result<identity>> enrolment::register_device(std::string phone, std::string code,
                                                         std::string name) {
  using answer = result<identity>;
  auto mine = store_.who().value_or(identity{});
  if (mine.registered())
    return answer{tl::unexpected{
        failure{ec::bad_request,
                "This profile is registered already: give another --profile for another device.",
                {}}}};
  if (mine.key == key_pair{})
    mine.key = make_key();
  mine.phone = phone;
  if (auto now = keep(store_, mine); !now)
    return answer{tl::unexpected{std::move(now.error())}};
  return ask<identity>([this, mine, phone = std::move(phone), code = std::move(code),
                        name = std::move(name)](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
    auto call = gateway.registerRequest(request_size(phone.size() + code.size() + name.size() + 32));
    call.setPhone(phone.c_str());
    call.setCode(code.c_str());
    call.setDeviceKey(kj::arrayPtr(mine.key.open.data(), mine.key.open.size()));
    call.setDeviceName(name.c_str());
    return call.send().then([this, mine](auto&& a) mutable -> answer {
      if (auto f = wire::to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      mine.user = user_id{a.getUser()};
      mine.device = device_id{a.getDevice()};
      if (auto now = keep(store_, mine); !now)
        return tl::unexpected{std::move(now.error())};
      who_ = mine;
      return mine;
    });
  });
}

} // namespace parley::client
