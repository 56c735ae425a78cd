#include "tests/harness/cluster/lean_client.hpp"

#include "protocol/transport/login_proof.hpp"

#include <arpa/inet.h>
#include <capnp/message.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace parley::test {

namespace {

constexpr kj::StringPtr refused_prefix = "refused:"_kj;

rpc::Gateway::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message{8};
  auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(vat).castAs<rpc::Gateway>();
}

session_number next_session(lean_context& context) {
  const auto clock = std::chrono::system_clock::now().time_since_epoch();
  const unix_ms now{std::chrono::duration_cast<std::chrono::milliseconds>(clock).count()};
  return context.last_session = client::session_after(context.last_session, now);
}

} // namespace

lean_context make_lean_context(kj::AsyncIoContext& io, const std::string& ca_file) {
  auto tls = transport::make_client_context({ca_file});
  if (!tls)
    throw std::runtime_error{"cannot trust " + ca_file + ": " + tls.error().detail};
  return {io.unixEventPort, io.provider->getTimer(), *tls, {}};
}

kj::Exception refusal(ec code, const char* what) {
  return kj::Exception(
      kj::Exception::Type::FAILED, __FILE__, __LINE__,
      kj::str(refused_prefix, parley::number(code), ' ', describe(code).name.data(), " by ", what));
}

ec refusal_code(const kj::Exception& e) {
  const auto text = e.getDescription();
  if (!text.startsWith(refused_prefix))
    return ec::none;
  unsigned n = 0;
  std::from_chars(text.begin() + refused_prefix.size(), text.end(), n);
  return static_cast<ec>(n);
}

lean_connection::lean_connection(lean_context& context, kj::Own<transport::message_stream> stream)
    : context_{context}, stream_{kj::mv(stream)}, network_{*stream_, capnp::rpc::twoparty::Side::CLIENT},
      rpc_{capnp::makeRpcClient(network_)}, gateway_{bootstrap(rpc_)} {}

kj::Promise<kj::Own<lean_connection>>
lean_connection::open(lean_context& context, const transport::socket_address& to, unsigned from) {
  kj::AutoCloseFd fd{socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (from != 0) {
    sockaddr_in me{};
    me.sin_family = AF_INET;
    me.sin_addr.s_addr = htonl(0x7f010000 + from / 250 * 256 + from % 250 + 1);
    const int later = 1; // `connect` chooses the port, so one address has room for as many connections
                         // as nodes × ports
    setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &later, sizeof later);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&me), sizeof me) != 0)
      return KJ_EXCEPTION(DISCONNECTED, "no such loopback address");
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0)
    return KJ_EXCEPTION(DISCONNECTED, "nobody listens");
  transport::tune(fd.get(), {});
  auto stream = kj::heap<transport::message_stream>(context.port, kj::mv(fd), context.tls,
                                                    transport::side::client, context.limits, "127.0.0.1");
  auto& it = *stream;
  return context.timer.timeoutAfter(context.login_timeout, it.handshake())
      .then([&context, stream = kj::mv(stream)]() mutable {
        return kj::heap<lean_connection>(context, kj::mv(stream));
      });
}

kj::Promise<void> lean_connection::login(const lean_device& who) {
  auto hello = gateway_.helloRequest();
  hello.setVersion(rpc::PROTOCOL_VERSION);
  auto done =
      hello.send().then([this, who](capnp::Response<rpc::Gateway::HelloResults> r) -> kj::Promise<void> {
        if (wire::to_code(r.getError()) != ec::none)
          return refusal(wire::to_code(r.getError()), "hello");
        node_ = node_id{r.getNode()};
        transport::login_claim claim;
        claim.cluster = wire::to_cluster(r.getCluster());
        claim.node = node_;
        if (r.getChallenge().size() != claim.challenge.size())
          return refusal(ec::bad_request, "hello's challenge");
        std::copy(r.getChallenge().begin(), r.getChallenge().end(), claim.challenge.begin());
        claim.user = who.user;
        claim.device = who.device;
        claim.session = next_session(context_);
        claim.exporter = stream_->login_exporter();
        const auto signature = client::sign(who.key, transport::login_proof_bytes(claim));
        auto login = gateway_.loginRequest();
        login.setUser(parley::number(who.user));
        login.setDevice(parley::number(who.device));
        login.setSignature(capnp::Data::Reader{signature.data(), signature.size()});
        login.setSessionNumber(parley::number(claim.session));
        login.setDeviceKey(capnp::Data::Reader{who.key.open.data(), who.key.open.size()});
        return login.send().then([this](capnp::Response<rpc::Gateway::LoginResults> l) -> kj::Promise<void> {
          if (wire::to_code(l.getError()) != ec::none)
            return refusal(wire::to_code(l.getError()), "login");
          session_ = l.getSession();
          return kj::READY_NOW;
        });
      });
  return context_.timer.timeoutAfter(context_.login_timeout, kj::mv(done));
}

kj::Promise<std::string>
lean_connection::wait_code(std::string phone,
                           std::function<std::optional<std::string>(const std::string&)> code_of,
                           unsigned tries_left) {
  if (auto found = code_of(phone))
    return *kj::mv(found);
  if (tries_left == 0)
    return refusal(ec::timed_out, "the code sender");
  return context_.timer.afterDelay(10 * kj::MILLISECONDS)
      .then([this, phone = kj::mv(phone), code_of = kj::mv(code_of), tries_left]() mutable {
        return wait_code(kj::mv(phone), kj::mv(code_of), tries_left - 1);
      });
}

kj::Promise<void>
lean_connection::enroll(lean_device& who,
                        std::function<std::optional<std::string>(const std::string&)> code_of) {
  auto request = gateway_.requestCodeRequest();
  request.setPhone(who.phone);
  return request.send()
      .then([this, &who, code_of = kj::mv(code_of)](
                capnp::Response<rpc::Gateway::RequestCodeResults> r) mutable -> kj::Promise<std::string> {
        if (wire::to_code(r.getError()) != ec::none)
          return refusal(wire::to_code(r.getError()), "requestCode");
        who.ticket = wire::bytes(r.getTicket());
        return wait_code(who.phone, kj::mv(code_of), 400);
      })
      .then([this, &who](std::string digits) {
        auto confirm = gateway_.registerRequest();
        confirm.setPhone(who.phone);
        confirm.setCode(digits);
        confirm.setDeviceKey(capnp::Data::Reader{who.key.open.data(), who.key.open.size()});
        confirm.setDeviceName("load");
        confirm.setTicket(wire::as_data(who.ticket));
        return confirm.send();
      })
      .then([&who](capnp::Response<rpc::Gateway::RegisterResults> r) -> kj::Promise<void> {
        if (wire::to_code(r.getError()) != ec::none)
          return refusal(wire::to_code(r.getError()), "register");
        who.user = user_id{r.getUser()};
        who.device = device_id{r.getDevice()};
        return kj::READY_NOW;
      });
}

} // namespace parley::test
