#include "tests/protocol/gateway/bad_streams.hpp"

#include "protocol/gateway/tokens.hpp"
#include "protocol/wire/codec.hpp"

namespace parley::test {
namespace {

std::string client_hello(int version_max) {
  auto* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, version_max);
  auto* ssl = SSL_new(context);
  auto *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  SSL_do_handshake(ssl);
  char* at = nullptr;
  const auto size = BIO_get_mem_data(out, &at);
  std::string bytes{at, static_cast<std::size_t>(size)};
  SSL_free(ssl);
  SSL_CTX_free(context);
  return bytes;
}

} // namespace

std::string of_session(session_method m, std::uint32_t question) {
  const std::uint32_t login = 2;
  switch (m) {
  case session_method::send:
    return session_call<rpc::Session::SendParams>(question, login, m, [&](auto&, auto p) {
      p.initConversation().setLo(4);
      p.initId().setCounter(question);
      p.setBody(bytes_of("what a decent client would send, too"));
    });
  case session_method::sync:
    return session_call<rpc::Session::SyncParams>(question, login, m, [](auto&, auto p) { p.setLimit(10); });
  case session_method::sync_conversation:
    return session_call<rpc::Session::SyncConversationParams>(question, login, m, [](auto&, auto p) {
      p.initConversation().setLo(4);
      p.setLimit(~0u);
    });
  case session_method::ack_delivered:
    return session_call<rpc::Session::AckDeliveredParams>(question, login, m, [](auto&, auto p) {
      p.setCursor(bytes_of(gateway::encode_cursor({11, 22}, hostile_user, inbox_pos{1ull << 60})));
    });
  case session_method::ack_read:
    return session_call<rpc::Session::AckReadParams>(question, login, m,
                                                     [](auto&, auto p) { p.setSeq(~0ull); });
  case session_method::open_direct:
    return session_call<rpc::Session::OpenDirectParams>(question, login, m,
                                                        [](auto&, auto p) { p.setPhone("+491234567"); });
  case session_method::conversations:
    return session_call<rpc::Session::ConversationsParams>(question, login, m, [](auto&, auto) {});
  case session_method::receive:
    return session_call<rpc::Session::ReceiveParams>(question, login, m, [](auto& call, auto p) {
      (void)p;
      call.getParams().initCapTable(1)[0].setSenderHosted(7);
    });
  case session_method::ping:
    return session_call<rpc::Session::PingParams>(question, login, m, [](auto&, auto) {});
  case session_method::logout:
    return session_call<rpc::Session::LogoutParams>(question, login, m, [](auto&, auto) {});
  }
  return {};
}

std::vector<bad_stream> streams() {
  std::vector<bad_stream> all;
  const auto add = [&](const char* name, stage after, std::string bytes) {
    all.push_back({name, after, std::move(bytes)});
  };
  add("1 a peer that says next to nothing", stage::connected, "\x16");
  add("3 plaintext on the TLS port", stage::connected, "GET / HTTP/1.1\r\nHost: parley\r\n\r\n");
  add("4 a greeting of TLS 1.2", stage::connected, client_hello(TLS1_2_VERSION));
  add("6 a greeting of TLS 1.3 that leads to nothing", stage::connected, client_hello(TLS1_3_VERSION));
  add("9 a segment table of ffffffff", stage::encrypted, words({0xffffffff, 0xffffffff, 0, 0}));
  std::string segments = words({512});
  for (int i = 0; i < 513; ++i)
    segments += words({1});
  add("10 513 segments", stage::encrypted, segments + std::string(513 * 8, '\1'));
  add("11 a segment of 2^31 words", stage::encrypted, words({0, 0x80000000}) + std::string(64, '\0'));
  add("12 a message above the limit", stage::encrypted, words({0, 64 * 1024 + 1}) + std::string(512, '\0'));
  add("13 a message that ends too early", stage::encrypted, words({0, 100}) + std::string(200, '\0'));
  add("14 pointers out of bounds", stage::encrypted,
      bootstrap_message() + call_with_pointer(list_pointer(0x0fffffff, 2, 13)));
  add("15 structs in each other without end", stage::encrypted,
      bootstrap_message() + call_with_pointer(struct_pointer(-1, 0, 1),
                                              std::vector<std::uint64_t>(17, struct_pointer(0, 0, 1))));
  add("16 text that overlaps the message around it", stage::encrypted,
      bootstrap_message() + call_with_pointer(list_pointer(-8, 2, 60)));
  add("17 2^29 structs of no size", stage::encrypted,
      bootstrap_message() + call_with_pointer(list_pointer(0, 7, 0)));
  add("18 text that is not UTF-8", stage::encrypted,
      bootstrap_message() +
          door_call<rpc::Gateway::RegisterParams>(1, door_method::register_device, [](auto&, auto p) {
            p.setPhone("+491234567");
            p.setCode("123456");
            p.setDeviceKey(bytes_of(std::string(32, 'k')));
            p.setDeviceName("\xc3\x28\xff\xfe");
          }));
  add("19 a method that does not exist", stage::encrypted,
      bootstrap_message() + door_call<rpc::Gateway::HelloParams>(1, door_method{99}, [](auto&, auto) {}));
  std::string many;
  for (std::uint32_t i = 0; i < 300; ++i)
    many += of_session(session_method::send, 10 + i);
  add("20 more calls than may be under way", stage::logged_in, many);
  std::string kept, again;
  for (std::uint32_t i = 0; i < 64; ++i)
    kept += session_call<rpc::Session::SyncParams>(
        10 + i, 2, session_method::sync, [](auto& call, auto) { call.getSendResultsTo().setYourself(); });
  add("21 results that are to be kept and not sent", stage::logged_in, kept);
  for (std::uint32_t i = 0; i < 64; ++i)
    again += bootstrap_message(10 + i) + finish_message(10 + i, false);
  add("22 the gateway, again and again", stage::encrypted, again);
  add("23 a release of what was never exported", stage::encrypted, release_message(1'000, 1));
  add("26 a promise of a promise", stage::logged_in,
      receive_call(10, 2, [](auto c) { c.setSenderPromise(1); }) + resolve_message(1, [](auto c) {
        c.setSenderPromise(2);
      }) + resolve_message(2, [](auto c) { c.setSenderPromise(3); }));
  add("30 a proof that proves nothing", stage::encrypted,
      bootstrap_message() + door_call<rpc::Gateway::HelloParams>(1, door_method::hello, [](auto&, auto p) {
        p.setVersion(rpc::PROTOCOL_VERSION);
      }) + door_call<rpc::Gateway::LoginParams>(2, door_method::login, [](auto&, auto p) {
        p.setUser(1);
        p.setDevice(2);
        p.setSignature(bytes_of(std::string(64, 's')));
        p.setSessionNumber(1);
      }));
  std::string guesses;
  for (std::uint32_t i = 1; i <= 20; ++i)
    guesses += door_call<rpc::Gateway::RegisterParams>(i, door_method::register_device, [&](auto&, auto p) {
      p.setPhone("+491234567");
      p.setCode(std::to_string(100'000 + i).c_str());
      p.setDeviceKey(bytes_of(std::string(32, 'k')));
      p.setDeviceName("guess");
      p.setTicket(bytes_of(std::string(code_ticket_bytes, 't')));
    });
  add("41 guesses with a ticket that is none", stage::encrypted, bootstrap_message() + guesses);
  std::string session;
  for (std::uint32_t i = 0; i < 9; ++i)
    session += of_session(session_method{static_cast<std::uint16_t>(i)}, 10 + i);
  for (std::uint32_t i = 0; i < 9; ++i)
    session += finish_message(10 + i);
  add("35 all that a session can be asked", stage::logged_in,
      session + of_session(session_method::logout, 30));
  return all;
}

bool log_in(raw_client& it, fixture& f, const device_key& key) {
  it.send(bootstrap_message() +
          door_call<rpc::Gateway::HelloParams>(1, door_method::hello,
                                               [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); }));
  transport::login_claim claim;
  const auto greeted = [&] {
    it.ended();
    return any_message(it.received, [&](capnp::rpc::Message::Reader m) {
      if (!m.isReturn() || m.getReturn().getAnswerId() != 1 || !m.getReturn().isResults())
        return false;
      const auto hello = m.getReturn().getResults().getContent().getAs<rpc::Gateway::HelloResults>();
      claim.cluster = wire::to_cluster(hello.getCluster());
      claim.node = node_id{hello.getNode()};
      const auto challenge = hello.getChallenge();
      std::copy_n(challenge.begin(), std::min<std::size_t>(challenge.size(), 32), claim.challenge.begin());
      return true;
    });
  };
  if (!f.until(greeted))
    return false;
  claim.user = hostile_user;
  claim.device = hostile_device;
  claim.session = session_number{1};
  SSL_export_keying_material(it.ssl(), claim.exporter.data(), claim.exporter.size(),
                             transport::login_exporter_label, sizeof transport::login_exporter_label - 1,
                             nullptr, 0, 0);
  const auto signature = key.sign(transport::login_proof_bytes(claim));
  it.send(door_call<rpc::Gateway::LoginParams>(2, door_method::login, [&](auto&, auto p) {
    p.setUser(number(claim.user));
    p.setDevice(number(claim.device));
    p.setSignature(bytes_of(signature));
    p.setSessionNumber(number(claim.session));
  }));
  std::optional<verdict> v;
  return f.until([&] {
    it.ended();
    v = answer_to<rpc::Gateway::LoginResults>(2, it.received);
    return v.has_value();
  }) && !v->exception &&
         v->code == 0;
}

} // namespace parley::test
