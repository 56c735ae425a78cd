#pragma once
// People with a minimal client: each of their calls is exactly one call on the wire, so that a test can
// send what a correct client never would.
#include "tests/e2e/people.hpp"
#include "tests/harness/cluster/lean_client.hpp"

#include <map>

namespace parley::test {

/// The items that a device receives, as they arrive on the wire.
struct letterbox {
  struct letter {
    conversation_id conversation;
    seq_no seq{};
    user_id sender{};
    std::string body;
  };
  std::vector<letter> letters;
  std::string cursor;

  std::size_t count(const std::string& body) const {
    std::size_t n = 0;
    for (const auto& l : letters)
      n += l.body == body;
    return n;
  }
};

struct letterbox_receiver final : rpc::Receiver::Server {
  letterbox& box;
  explicit letterbox_receiver(letterbox& b) : box{b} {}
  kj::Promise<void> deliver(DeliverContext context) override {
    const auto params = context.getParams();
    for (const auto item : params.getItems()) {
      if (!item.isMessage())
        continue;
      const auto m = item.getMessage().getIt();
      box.letters.push_back({wire::to_conversation(m.getConversation()), seq_no{m.getSeq()},
                             user_id{m.getSender()}, std::string{wire::view(m.getBody())}});
    }
    box.cursor = wire::view(params.getCursor());
    return kj::READY_NOW;
  }
  kj::Promise<void> closed(ClosedContext) override { return kj::READY_NOW; }
};

/// The answer to a send. `lost` means that there was none.
struct placed {
  ec error{};
  seq_no seq{};
  std::pair<std::uint64_t, std::uint64_t> id;
  bool duplicate = false;
  std::uint32_t retry_after_ms = 0;
  bool lost = false;
};

struct neighbourhood : town {
  explicit neighbourhood(process_cluster_config config = {})
      : town{std::move(config)}, lean{make_lean_context(io, cluster.client_ca())} {}

  template <class T>
  auto get(T&& promise) {
    return io.provider->getTimer()
        .timeoutAfter(patient(20 * kj::SECONDS), kj::fwd<T>(promise))
        .wait(io.waitScope);
  }
  transport::socket_address at(std::size_t node) const {
    return *transport::resolve(settings.seeds.at(node - 1));
  }
  /// `from` as of `lean_connection::open`.
  kj::Own<lean_connection> connect(std::size_t node, unsigned from = 0) {
    return get(lean_connection::open(lean, at(node), from));
  }
  kj::Own<lean_connection> login(std::size_t node, const lean_device& who) {
    auto c = connect(node);
    get(c->login(who));
    return c;
  }
  /// Returns `none` if the node lets `who` log in.
  ec refusal_of(std::size_t node, const lean_device& who) {
    auto c = connect(node);
    auto outcome = ec::none;
    try {
      get(c->login(who));
    } catch (const kj::Exception& e) {
      outcome = refusal_code(e);
      if (outcome == ec::none)
        throw;
    }
    return outcome;
  }
  lean_device enroll(std::size_t number) {
    lean_device who;
    who.key = client::make_key();
    who.phone = test_phone(number);
    auto c = connect(1);
    get(c->enroll(who, [this](const std::string& phone) { return cluster.code_for(phone); }));
    return who;
  }
  conversation_id open(lean_connection& from, user_id with) {
    auto request = from.session().openDirectRequest();
    request.setUser(number(with));
    auto answer = get(request.send());
    if (wire::to_code(answer.getError()) != ec::none)
      throw cluster_error{"no conversation: " + std::string{answer.getError().getSentence().cStr()}};
    return wire::to_conversation(answer.getConversation());
  }
  static kj::Promise<placed> send(lean_connection& from, conversation_id c, std::uint64_t counter,
                                  std::string_view body) {
    auto request = from.session().sendRequest();
    wire::write(request.initConversation(), c);
    request.initId().setCounter(counter);
    request.setBody(wire::as_data(body));
    return request.send().then(
        [](capnp::Response<rpc::Session::SendResults> r) {
          return placed{wire::to_code(r.getError()),
                        seq_no{r.getSeq()},
                        {r.getMsgId().getHi(), r.getMsgId().getLo()},
                        r.getDuplicate(),
                        r.getError().getRetryAfterMs(),
                        false};
        },
        [](kj::Exception&&) { return placed{ec::none, {}, {}, false, 0, true}; });
  }
  /// Repeats a send until its outcome is known: temporary conditions are retried, as a client does.
  placed settle(lean_connection& from, conversation_id c, std::uint64_t counter, std::string_view body) {
    for (int tries = 0;; ++tries) {
      const auto p = get(send(from, c, counter, body));
      if (p.lost)
        throw cluster_error{"the connection was lost"};
      if (tries == 100 || (p.error != ec::rate_limited && !describe(p.error).retryable))
        return p;
      get(io.provider->getTimer().afterDelay(std::max(10u, p.retry_after_ms) * kj::MILLISECONDS));
    }
  }
  void receive(lean_connection& at, letterbox& into, std::string_view cursor = {}) {
    auto request = at.session().receiveRequest();
    request.setReceiver(kj::heap<letterbox_receiver>(into));
    request.setCursor(wire::as_data(cursor));
    if (wire::to_code(get(request.send()).getError()) != ec::none)
      throw cluster_error{"not receiving"};
  }
  /// The conversation as the cluster stores it: senders and bodies, from seq 1 on without gaps.
  struct page {
    ec error{};
    std::vector<letterbox::letter> messages;
    std::vector<std::uint64_t> counters;
    std::map<user_id, seq_no> read;
    seq_no last{};
  };
  page history(lean_connection& of, conversation_id c) {
    page whole;
    for (bool more = true; more;) {
      auto request = of.session().syncConversationRequest();
      wire::write(request.initConversation(), c);
      request.setAfter(whole.messages.size());
      auto answer = get(request.send());
      whole.error = wire::to_code(answer.getError());
      if (whole.error != ec::none)
        return whole;
      for (const auto m : answer.getMessages()) {
        if (m.getSeq() != whole.messages.size() + 1)
          throw cluster_error{"a sync with a gap"};
        whole.messages.push_back(
            {c, seq_no{m.getSeq()}, user_id{m.getSender()}, std::string{wire::view(m.getBody())}});
        whole.counters.push_back(m.getClientCounter());
      }
      for (const auto w : answer.getWatermarks())
        whole.read[user_id{w.getUser()}] = seq_no{w.getRead()};
      whole.last = seq_no{answer.getLast()};
      more = answer.getMore();
    }
    return whole;
  }

  lean_context lean;
};

} // namespace parley::test
