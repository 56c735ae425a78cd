#include "protocol/client/device/login.hpp"

#include "protocol/client/rules/session_rules.hpp"
#include "protocol/client/store/keys.hpp"
#include "protocol/wire/codec.hpp"

#include <algorithm>

namespace parley::client {
namespace {

constexpr std::size_t nodes_named_max = 8;     // what one node may make this device keep
constexpr std::size_t address_bytes_max = 262; // a name of 255 bytes, a colon and a port

[[noreturn]] void lose(std::string_view sentence) {
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, std::string{sentence}.c_str()));
}

/// What the login reads and writes. A store that fails ends the device: no other node could help.
template <class Use>
auto stored(Use use) -> tl::expected<decltype(use()), login_refusal> {
  try {
    return use();
  } catch (const store_error& e) {
    return tl::unexpected{login_refusal{{ec::storage_failed, e.what(), {}}, link_state::broken}};
  }
}

login_refusal refused(failure why, login_fate fate) {
  const auto then = fate == login_fate::fenced    ? link_state::fenced
                    : fate == login_fate::refused ? link_state::refused
                                                  : link_state::offline;
  return {std::move(why), then};
}

} // namespace

kj::Promise<login::outcome> login::establish(const server_address& to) {
  return dialer_.dial(to).then([this](kj::Own<line>&& l) {
    auto link = kj::heap<client_link>(kj::mv(l), timer_, config_.call_timeout);
    auto& it = *link;
    auto lost = it.over().then([]() -> proved { lose("the connection was lost before the login"); });
    // The link is destroyed after what runs on it.
    return introduce(it)
        .exclusiveJoin(kj::mv(lost))
        .then([link = kj::mv(link)](proved&& by) mutable -> outcome {
          if (!by)
            return tl::unexpected{std::move(by.error())};
          return logged_in{kj::mv(link), by->node, std::move(by->nodes)};
        });
  });
}

kj::Promise<login::proved> login::introduce(client_link& link) {
  auto call = link.gateway().helloRequest(request_size());
  call.setVersion(rpc::PROTOCOL_VERSION);
  return call.send().then([this, &link](auto&& hello) -> kj::Promise<proved> {
    if (auto f = wire::to_failure(hello.getError()); f.code != ec::none) {
      const auto fate = fate_of_login(login_step::hello, f);
      return proved{tl::unexpected{refused(std::move(f), fate)}};
    }
    transport::login_claim claim;
    const auto challenge = wire::fixed<32>(hello.getChallenge());
    if (!challenge)
      lose("the node's challenge cannot be signed");
    claim.cluster = wire::to_cluster(hello.getCluster());
    claim.node = node_id{hello.getNode()};
    claim.challenge = *challenge;
    claim.user = who_.user;
    claim.device = who_.device;
    claim.exporter = link.exporter();
    return resume(link, claim);
  });
}

tl::expected<login::signature, login_refusal> login::prove(transport::login_claim& claim) {
  const auto session = stored(
      [this] { return store_.next_session(unix_ms{(calendar_.now() - kj::UNIX_EPOCH) / kj::MILLISECONDS}); });
  if (!session)
    return tl::unexpected{session.error()};
  claim.session = *session;
  return sign(who_.key, transport::login_proof_bytes(claim));
}

// With a token the node knows at once where this device was. Without one, or if the node does not accept the
// token, the device logs in anew.
kj::Promise<login::proved> login::resume(client_link& link, transport::login_claim claim) {
  const auto token = stored([this] { return store_.token(); });
  if (!token)
    return proved{tl::unexpected{token.error()}};
  if (token->empty())
    return log_in(link, claim);
  const auto proof = prove(claim);
  if (!proof)
    return proved{tl::unexpected{proof.error()}};
  auto call = link.gateway().resumeRequest(request_size(64 + token->size()));
  call.setResumeToken(wire::as_data(*token));
  call.setSignature(kj::arrayPtr(proof->data(), proof->size()));
  call.setSessionNumber(number(claim.session));
  call.setDeviceKey(kj::arrayPtr(who_.key.open.data(), who_.key.open.size()));
  return call.send().then([this, &link, claim](auto&& answer) -> kj::Promise<proved> {
    auto f = wire::to_failure(answer.getError());
    if (f.code == ec::none)
      return enter(link, claim.node, answer);
    if (const auto fate = fate_of_login(login_step::resume, f); fate != login_fate::anew)
      return proved{tl::unexpected{refused(std::move(f), fate)}};
    if (auto forgotten = stored([this] { return store_.set_token({}), nothing{}; }); !forgotten)
      return proved{tl::unexpected{std::move(forgotten.error())}};
    return log_in(link, claim);
  });
}

kj::Promise<login::proved> login::log_in(client_link& link, transport::login_claim claim) {
  const auto proof = prove(claim);
  if (!proof)
    return proved{tl::unexpected{proof.error()}};
  auto call = link.gateway().loginRequest(request_size(64));
  call.setUser(number(who_.user));
  call.setDevice(number(who_.device));
  call.setSignature(kj::arrayPtr(proof->data(), proof->size()));
  call.setSessionNumber(number(claim.session));
  call.setDeviceKey(kj::arrayPtr(who_.key.open.data(), who_.key.open.size()));
  return call.send().then([this, &link, node = claim.node](auto&& answer) -> proved {
    if (auto f = wire::to_failure(answer.getError()); f.code != ec::none) {
      const auto fate = fate_of_login(login_step::login, f);
      return tl::unexpected{refused(std::move(f), fate)};
    }
    return enter(link, node, answer);
  });
}

template <class Answer>
login::proved login::enter(client_link& link, node_id node, Answer& answer) {
  link.set_session(answer.getSession());
  if (auto remembered =
          stored([&] { return store_.set_token(wire::bytes(answer.getResumeToken())), nothing{}; });
      !remembered)
    return tl::unexpected{std::move(remembered.error())};
  welcome by{node, {}};
  for (const auto address : answer.getNodes())
    if (by.nodes.size() < nodes_named_max && address.size() <= address_bytes_max)
      by.nodes.emplace_back(address.cStr(), address.size());
  return by;
}

} // namespace parley::client
