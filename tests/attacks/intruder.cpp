#include "tests/attacks/intruder.hpp"

#include "protocol/transport/login_proof.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <algorithm>
#include <atomic>

namespace parley::test {
namespace {

/// Of all devices of the process together: each login only needs a higher number than the one before.
session_number next_session() {
  static std::atomic<std::uint64_t> last{0};
  const auto now = static_cast<std::uint64_t>(
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
  auto before = last.load();
  auto mine = std::max(before + 1, now);
  while (!last.compare_exchange_weak(before, mine))
    mine = std::max(before + 1, now);
  return session_number{mine};
}

} // namespace

intruder log_in_by_hand(const address& node, const lean_device& who, unsigned from, int receive_buffer) {
  intruder in{stranger{node, from, receive_buffer}};
  if (!in.line.handshake())
    return in;
  in.line.send(bootstrap_message() +
               door_call<rpc::Gateway::HelloParams>(
                   1, door_method::hello, [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); }));
  transport::login_claim claim;
  const auto greeted = [&](capnp::rpc::Message::Reader m) {
    if (!m.isReturn() || m.getReturn().getAnswerId() != 1 || !m.getReturn().isResults())
      return false;
    const auto hello = m.getReturn().getResults().getContent().getAs<rpc::Gateway::HelloResults>();
    claim.cluster = wire::to_cluster(hello.getCluster());
    claim.node = node_id{hello.getNode()};
    std::copy_n(hello.getChallenge().begin(), 32, claim.challenge.begin());
    return true;
  };
  const auto hears = [&](auto&& what) { // false too once the connection has ended
    bool heard = false;
    poll_until(
        milliseconds{10'000},
        [&] {
          const bool open = in.line.listen(milliseconds{50});
          heard = what();
          return heard || !open;
        },
        milliseconds{0});
    return heard;
  };
  if (!hears([&] { return any_message(in.line.received, greeted); }))
    return in;
  claim.user = who.user;
  claim.device = who.device;
  claim.session = next_session();
  claim.exporter = in.line.exporter();
  const auto signature = client::sign(who.key, transport::login_proof_bytes(claim));
  in.line.send(door_call<rpc::Gateway::LoginParams>(2, door_method::login, [&](auto&, auto p) {
    p.setUser(number(claim.user));
    p.setDevice(number(claim.device));
    p.setSignature(capnp::Data::Reader{signature.data(), signature.size()});
    p.setSessionNumber(number(claim.session));
    p.setDeviceKey(capnp::Data::Reader{who.key.open.data(), who.key.open.size()});
  }));
  std::optional<verdict> v;
  hears([&] {
    v = answer_to<rpc::Gateway::LoginResults>(2, in.line.received);
    return v.has_value();
  });
  in.answered = v && !v->exception;
  in.inside = in.answered && v->code == 0;
  in.line.received.clear();
  return in;
}

std::string page_call(std::uint32_t question, const conversation_id& of, bool keep) {
  return session_call<rpc::Session::SyncConversationParams>(question, 2, session_method::sync_conversation,
                                                            [&](auto& call, auto p) {
                                                              if (keep)
                                                                call.getSendResultsTo().setYourself();
                                                              wire::write(p.initConversation(), of);
                                                            });
}

std::string send_call(std::uint32_t question, const conversation_id& to, std::uint64_t counter,
                      std::string_view body) {
  return session_call<rpc::Session::SendParams>(question, 2, session_method::send, [&](auto&, auto p) {
    wire::write(p.initConversation(), to);
    p.initId().setCounter(counter);
    p.setBody(wire::as_data(body));
  });
}

std::string ping_call(std::uint32_t question, std::uint32_t of) {
  return session_call<rpc::Session::PingParams>(question, of, session_method::ping, [](auto&, auto) {});
}

} // namespace parley::test
