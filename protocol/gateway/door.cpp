// The `Gateway` of the schema: what a connection can do before it has logged in.
#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/registration.hpp"
#include "protocol/gateway/rpc_objects.hpp"
#include "protocol/gateway/text.hpp"
#include "protocol/gateway/tokens.hpp"
#include "protocol/transport/login_proof.hpp"
#include "protocol/values/limits.hpp"
#include "protocol/values/session_numbers.hpp"

namespace parley::gateway {
namespace {

constexpr std::uint32_t login_retry_ms = 100; ///< the other attempt has an answer by then
constexpr std::uint32_t reconnect_ms = 1'000;

/// A device that wants to log in, with a proof that has not been checked yet.
struct applicant {
  user_id user{};
  device_id device{};
  session_number session{};
  std::string signature;
  std::string key; ///< empty: the client did not name it
};
struct verdict {
  ec error{};
  std::uint32_t retry_after_ms = 0;
  inbox_pos acknowledged{};
};

class door final : public rpc::Gateway::Server {
public:
  explicit door(kj::Own<connection> c) : c_{kj::mv(c)} {}

  kj::Promise<void> hello(HelloContext context) override {
    return at_door(context, [this, context]() mutable -> kj::Promise<void> {
      const auto& config = c_->parts().config;
      const auto version = read_params([&] { return context.getParams().getVersion(); });
      if (!version)
        return refuse(context, version.error());
      auto results = context.getResults(capnp::MessageSize{32, 0});
      results.setVersion(rpc::PROTOCOL_VERSION);
      if (*version != rpc::PROTOCOL_VERSION) {
        write(results.initError(), ec::unsupported_version, 0);
        return kj::READY_NOW;
      }
      write(results.initCluster(), config.cluster);
      results.setNode(number(config.node));
      const auto& challenge = c_->challenge();
      results.setChallenge({challenge.data(), challenge.size()});
      return kj::READY_NOW;
    });
  }

  kj::Promise<void> requestCode(RequestCodeContext context) override {
    return at_door(context, [this, context]() mutable -> kj::Promise<void> {
      auto& parts = c_->parts();
      struct request {
        std::string phone, ticket;
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{std::string{view(params.getPhone())}, std::string{view(params.getTicket())}};
      });
      context.releaseParams();
      if (!r)
        return refuse(context, r.error());
      if (const auto objection = check_phone(r->phone); objection != ec::none)
        return refuse(context, objection);
      if (!r->ticket.empty() && r->ticket.size() != code_ticket_bytes)
        return refuse(context, ec::bad_request);
      const auto networks = c_->networks();
      if (const auto wait = admit_to(parts.code_asks, bound::codes_of_address, bound::codes_of_node);
          wait.count() > 0)
        return refuse(context, ec::rate_limited, milliseconds(wait));
      auto ticket = r->ticket.empty() ? random_ticket(parts.dice) : std::move(r->ticket);
      code_steps steps{std::move(r->phone), std::move(ticket), random_code(parts.dice), networks};
      return parts.cluster.ask(steps.request())
          .then([this, context, steps = std::move(steps)](core::answer answer) mutable -> kj::Promise<void> {
            if (const auto end = steps.issued(answer_to<core::request_code>(answer))) {
              give_back(*end);
              return say(context, *end, steps.ticket());
            }
            auto sent = c_->parts().codes.send(steps.phone(), steps.code());
            return sent.then([this, context, steps = std::move(steps)](ec why) mutable {
              const auto end = steps.sent(why);
              give_back(end);
              if (end.sends_one)
                add(c_->parts().metrics.codes_sent);
              if (why == ec::overloaded)
                add(c_->parts().metrics.refused_for(bound::codes_waiting));
              return tell(steps.report(why)).then([context, end, ticket = steps.ticket()]() mutable {
                return say(context, end, ticket);
              });
            });
          });
    });
  }

  // "register" is a keyword: the generated name has an underscore.
  kj::Promise<void> register_(RegisterContext context) override {
    return at_door(context, [this, context]() mutable -> kj::Promise<void> {
      auto& parts = c_->parts();
      struct request {
        std::string phone, code, key, name, ticket;
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{std::string{view(params.getPhone())}, std::string{view(params.getCode())},
                       std::string{view(params.getDeviceKey())}, std::string{view(params.getDeviceName())},
                       std::string{view(params.getTicket())}};
      });
      context.releaseParams();
      if (!r)
        return refuse(context, r.error());
      if (const auto objection = check_phone(r->phone); objection != ec::none)
        return refuse(context, objection);
      if (!is_utf8(r->name) || !is_utf8(r->code))
        return refuse(context, ec::bad_text);
      if (r->name.size() > device_name_bytes_max)
        return refuse(context, ec::too_large);
      core::device_record device;
      if (r->key.size() != device.key.size() || r->ticket.size() != code_ticket_bytes)
        return refuse(context, ec::bad_request);
      std::memcpy(device.key.data(), r->key.data(), device.key.size());
      if (is_weak_ed25519(device.key))
        return refuse(context, ec::bad_request);
      if (!is_code(r->code))
        return refuse(context, ec::code_wrong);
      if (const auto wait =
              admit_to(parts.registrations, bound::registrations_of_address, bound::registrations_of_node);
          wait.count() > 0)
        return refuse(context, ec::rate_limited, milliseconds(wait));
      device.id = device_of_key(device.key);
      device.name = std::move(r->name);
      device.since = parts.clock.now();
      registration_steps steps{std::move(r->phone), r->ticket, r->code, std::move(device),
                               user_id{parts.dice.nonzero()}};
      return parts.cluster.ask(steps.confirm())
          .then([this, context, steps = std::move(steps)](core::answer answer) mutable -> kj::Promise<void> {
            auto next = steps.confirmed(answer_to<core::confirm_code>(answer));
            if (!next)
              return refuse(context, next.error().error, next.error().retry_after_ms);
            return c_->parts()
                .cluster.ask(std::move(*next))
                .then([this, context,
                       steps = std::move(steps)](core::answer added) mutable -> kj::Promise<void> {
                  const auto user = steps.added(answer_to<core::add_device>(added));
                  if (!user)
                    return refuse(context, user.error().error, user.error().retry_after_ms);
                  add(c_->parts().metrics.registrations);
                  auto results = context.getResults(capnp::MessageSize{6, 0});
                  results.setUser(number(*user));
                  results.setDevice(number(steps.device()));
                  return kj::READY_NOW;
                });
          });
    });
  }

  kj::Promise<void> login(LoginContext context) override {
    return at_edge(*c_, context, [this, context]() mutable -> kj::Promise<void> {
      auto who = read_params([&] {
        const auto params = context.getParams();
        return applicant{user_id{params.getUser()}, device_id{params.getDevice()},
                         session_number{params.getSessionNumber()}, std::string{view(params.getSignature())},
                         std::string{view(params.getDeviceKey())}};
      });
      context.releaseParams();
      if (!who)
        return turn_away(context, who.error());
      return enter(std::move(*who)).then([this, context](verdict v) mutable { return welcome(context, v); });
    });
  }

  kj::Promise<void> resume(ResumeContext context) override {
    return at_edge(*c_, context, [this, context]() mutable -> kj::Promise<void> {
      struct request {
        std::string token, signature, key;
        session_number session{};
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{std::string{view(params.getResumeToken())}, std::string{view(params.getSignature())},
                       std::string{view(params.getDeviceKey())}, session_number{params.getSessionNumber()}};
      });
      context.releaseParams();
      if (!r)
        return turn_away(context, r.error());
      const auto& parts = c_->parts();
      const auto token =
          decode_token(parts.config.cluster, r->token, parts.clock.now(), parts.config.resume_valid_for);
      if (!token)
        return turn_away(context, token.error());
      applicant who{token->user, token->device, r->session, std::move(r->signature), std::move(r->key)};
      return enter(std::move(who)).then([this, context](verdict v) mutable {
        // Only a client that has proved to be the device is told.
        const auto last = v.error == ec::none ? c_->parts().closed.take(c_->user(), c_->device()) : ec::none;
        auto done = welcome(context, v);
        context.getResults().setLastReason(static_cast<std::uint16_t>(last));
        return done;
      });
    });
  }

private:
  /// The RPC system makes calls a turn after it read them. Meanwhile their connection may have been closed, by a
  /// deadline for example: then it has no stream, and nobody hears the answer. `enter` asks the same for a login.
  template <class Context, class Body>
  kj::Promise<void> at_door(Context context, Body&& body) {
    return at_edge(*c_, context, [this, context, body = kj::mv(body)]() mutable -> kj::Promise<void> {
      if (const auto why = c_->refusal(); why != ec::none)
        return refuse(context, why);
      return body();
    });
  }

  static ec check_phone(std::string_view phone) {
    if (!is_utf8(phone))
      return ec::bad_text;
    return is_phone(phone) ? ec::none : ec::bad_phone;
  }

  /// Tells the shard what became of a code.
  kj::Promise<void> tell(core::report_code report) {
    auto& parts = c_->parts();
    return parts.cluster.ask(std::move(report))
        .ignoreResult()
        .exclusiveJoin(
            parts.port.getTimer().afterDelay(code_steps::report_within.count() * kj::MILLISECONDS));
  }

  void give_back(const code_outcome& end) {
    if (!end.sends_one)
      c_->parts().code_asks.give_back(c_->networks());
  }

  static kj::Promise<void> say(RequestCodeContext& context, const code_outcome& end,
                               std::string_view ticket) {
    if (end.error != ec::none)
      return refuse(context, end.error, end.retry_after_ms);
    auto results = context.getResults(capnp::MessageSize{8, 0});
    results.setExpiresInS(end.good_for_ms / 1'000);
    results.setTicket(as_data(ticket));
    return kj::READY_NOW;
  }

  /// As `code_limits::admit`; counts a refusal, by whose share is used up.
  std::chrono::nanoseconds admit_to(code_limits& limits, bound of_address, bound of_node) {
    const auto now = std::chrono::steady_clock::now();
    const auto wait = limits.admit(c_->networks(), now);
    if (wait.count() > 0)
      add(c_->parts().metrics.refused_for(limits.node_has_none(now) ? of_node : of_address));
    return wait;
  }

  /// Checks the proof, then opens the session.
  kj::Promise<verdict> enter(applicant who) {
    auto& parts = c_->parts();
    if (const auto why = c_->refusal(); why != ec::none)
      return verdict{why};
    if (parts.draining)
      return verdict{ec::draining};
    if (c_->logged_in() || !c_->greeted() || who.session == session_number::none)
      return verdict{ec::bad_request};
    if (is_far_ahead(who.session, parts.clock.now()))
      return verdict{ec::session_ahead};
    if (!who.key.empty() && who.key.size() != device_key_bytes)
      return verdict{ec::bad_request};
    if (who.signature.size() != login_signature_bytes) {
      add(parts.metrics.logins_failed);
      return verdict{ec::bad_signature};
    }
    switch (c_->begin_login()) {
    case connection::attempt::one_is_under_way:
      return verdict{ec::rate_limited, login_retry_ms};
    case connection::attempt::too_many: // here it is not let in any more
      c_->close(ec::rate_limited, 0);
      return verdict{ec::rate_limited, reconnect_ms};
    case connection::attempt::begun:
      break;
    }
    return kj::evalNow([&] { return admit(std::move(who)); })
        .then(
            [this](verdict v) {
              if (v.error != ec::none)
                c_->login_refused(v.error);
              return v;
            },
            [this](kj::Exception&&) {
              c_->login_refused(ec::internal);
              add(c_->parts().metrics.internal_errors);
              return verdict{ec::internal};
            });
  }

  /// With the key that the client names, or with that of the device's record, which has to be asked for first.
  kj::Promise<verdict> admit(applicant who) {
    login_request request{who.user, who.device, who.session, {}};
    if (!who.key.empty()) {
      std::memcpy(request.key.emplace().data(), who.key.data(), device_key_bytes);
      if (!proves(who, *request.key))
        return verdict{ec::bad_signature};
      return open(request);
    }
    return c_->parts()
        .cluster.ask(core::find_device{who.user, who.device})
        .then([this, request, who = std::move(who)](core::answer answer) -> kj::Promise<verdict> {
          const auto& found = answer_to<core::find_device>(answer);
          if (const auto why = c_->refusal(); why != ec::none)
            return verdict{why};
          if (found.error != ec::none)
            return verdict{told(found.error), found.retry_after_ms};
          if (!proves(who, found.device.key))
            return verdict{ec::bad_signature};
          return open(request);
        });
  }

  /// A stranger must not find out who is registered.
  static ec told(ec why) { return why == ec::no_such_user ? ec::bad_signature : why; }

  bool proves(const applicant& who, std::span<const std::uint8_t, device_key_bytes> key) {
    const auto proof =
        transport::login_proof_bytes({parts_cluster(), c_->parts().config.node, c_->challenge(), who.user,
                                      who.device, who.session, c_->exporter()});
    return verify_ed25519(
        key, proof, {reinterpret_cast<const std::uint8_t*>(who.signature.data()), who.signature.size()});
  }

  kj::Promise<verdict> open(const login_request& request) {
    return c_->parts().cluster.open_session(request, *c_).then([this, request](login_result opened) {
      if (opened.error != ec::none)
        return verdict{told(opened.error), opened.retry_after_ms};
      // A newer connection of the device may have fenced this one before its login was answered.
      if (const auto why = c_->refusal(); why != ec::none)
        return verdict{why};
      if (opened.it.get() == nullptr)
        return verdict{ec::internal};
      c_->admit(request.user, request.device, opened.acknowledged, kj::mv(opened.it));
      return verdict{ec::none, 0, opened.acknowledged};
    });
  }

  const cluster_id& parts_cluster() const { return c_->parts().config.cluster; }

  /// A login is refused, and so are the calls that were pipelined behind it.
  template <class Context>
  kj::Promise<void> turn_away(Context& context, ec why, std::uint32_t retry_after_ms = 0) {
    // Only before login, where few calls are read: a client need not let go of what it is given.
    if (!c_->logged_in())
      context.getResults(capnp::MessageSize{words_of(why) + 32, 1})
          .setSession(make_refused_session(why, retry_after_ms));
    return refuse(context, why, retry_after_ms);
  }

  template <class Context>
  kj::Promise<void> welcome(Context& context, const verdict& v) {
    if (v.error != ec::none)
      return turn_away(context, v.error, v.retry_after_ms);
    const auto token =
        encode_token(parts_cluster(), {c_->user(), c_->device(), v.acknowledged, c_->parts().clock.now()});
    const auto nodes = c_->parts().nodes.others(c_->parts().config.node);
    std::uint64_t words = 24;
    for (const auto& address : nodes)
      words += 2 + address.size() / sizeof(capnp::word);
    auto results = context.getResults(capnp::MessageSize{words, 1});
    results.setSession(make_session(kj::addRef(*c_)));
    results.setResumeToken(as_data(token));
    auto list = results.initNodes(static_cast<unsigned>(nodes.size()));
    for (unsigned i = 0; i < nodes.size(); ++i)
      list.set(i, nodes[i].c_str());
    return kj::READY_NOW;
  }

  kj::Own<connection> c_;
};

} // namespace

rpc::Gateway::Client make_door(kj::Own<connection> c) {
  return kj::heap<door>(kj::mv(c));
}

} // namespace parley::gateway
