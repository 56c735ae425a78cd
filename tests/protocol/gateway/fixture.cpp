#include "tests/protocol/gateway/fixture.hpp"

#include "protocol/wire/codec.hpp"

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace parley::test {

test_certificate::test_certificate() {
  char pattern[] = "/tmp/parley-gateway-test-XXXXXX";
  directory_ = mkdtemp(pattern);
  certificate_file = directory_ + "/server.pem";
  key_file = directory_ + "/server.key";
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* x = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_pubkey(x, key);
  auto* name = X509_get_subject_name(x);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1,
                             0);
  X509_set_issuer_name(x, name);
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, x, x, nullptr, nullptr, 0);
  const std::pair<int, const char*> extensions[] = {{NID_subject_alt_name, "IP:127.0.0.1"},
                                                    {NID_basic_constraints, "critical,CA:TRUE"}};
  for (const auto& [id, value] : extensions) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(x, key, EVP_sha256());
  auto* file = std::fopen(certificate_file.c_str(), "w");
  PEM_write_X509(file, x);
  std::fclose(file);
  file = std::fopen(key_file.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(x);
  EVP_PKEY_free(key);
}

test_certificate::~test_certificate() {
  std::remove(certificate_file.c_str());
  std::remove(key_file.c_str());
  rmdir(directory_.c_str());
}

device_key::device_key() : pair{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")} {
  std::size_t size = public_half.size();
  EVP_PKEY_get_raw_public_key(pair, public_half.data(), &size);
}

std::string device_key::sign(std::string_view bytes) const {
  std::string signature(64, '\0');
  std::size_t size = signature.size();
  auto* context = EVP_MD_CTX_new();
  EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pair);
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                 reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  EVP_MD_CTX_free(context);
  return signature;
}

struct fake_cluster::its_session final : gateway::session {
  fake_cluster& c;
  connection_sink& sink;
  its_session(fake_cluster& cluster, connection_sink& s) : c{cluster}, sink{s} { ++c.live_sessions; }
  ~its_session() noexcept(false) override {
    --c.live_sessions;
    std::erase(c.sinks, &sink);
  }
  kj::Promise<core::answer> ask(core::call what) override {
    c.calls.push_back(what);
    return c.on_session_call(std::move(what));
  }
  bool start_receiving(inbox_pos after) override {
    if (c.receiving_from.size() >= c.receives_max)
      return false;
    c.receiving_from.push_back(after);
    return true;
  }
  std::vector<core::outgoing_row> take(std::size_t rows_max, std::size_t bytes_max) override {
    std::vector<core::outgoing_row> rows;
    std::size_t bytes = 0;
    while (!c.queue.empty() && rows.size() < rows_max && (rows.empty() || bytes < bytes_max)) {
      if (const auto* m = std::get_if<core::message_news>(&c.queue.front().what))
        bytes += m->msg.body.size();
      rows.push_back({std::move(c.queue.front()), c.applied_at});
      c.queue.pop_front();
    }
    return rows;
  }
  bool copies_own() const override { return false; }
};

kj::Promise<core::answer> fake_cluster::ask(core::call what) {
  calls.push_back(what);
  if (on_call)
    return on_call(std::move(what));
  if (const auto* find = std::get_if<core::find_device>(&what)) {
    core::found_device found;
    const auto i = devices.find({find->user, find->device});
    if (i == devices.end())
      found.error = ec::no_such_user;
    else
      found.device = {find->device, i->second, "test", unix_ms::none};
    return core::answer{core::answer_to<core::find_device>{found}};
  }
  return core::refusal(what, ec::unavailable);
}

kj::Promise<gateway::login_result> fake_cluster::open_session(const gateway::login_request& who,
                                                              connection_sink& sink) {
  const auto device = devices.find({who.user, who.device});
  if (who.key && (device == devices.end() || device->second != *who.key)) {
    gateway::login_result refused;
    refused.error = device == devices.end() ? ec::no_such_user : ec::bad_signature;
    return refused;
  }
  opened.push_back(who.session);
  const auto finish = [this, &sink](ec error) {
    gateway::login_result result;
    result.error = error;
    result.acknowledged = acknowledged;
    if (error == ec::none) {
      result.it = kj::heap<its_session>(*this, sink);
      sinks.push_back(&sink);
    }
    return result;
  };
  if (on_open)
    return on_open(sink).then(kj::cp(finish)); // a promise would keep a reference to it
  return finish(open_error);
}

fixture::fixture() {
  std::signal(SIGPIPE, SIG_IGN); // of the raw clients; the gateway raises none
  config.listen = {"127.0.0.1", 0};
  config.cluster = {11, 22};
  config.node = node_id{7};
  config.sweep_every = std::chrono::milliseconds{10};
  config.drain_spread = std::chrono::milliseconds{50};
  config.close_grace = std::chrono::milliseconds{300};
  config.address_handshakes_burst = config.handshakes_burst; // all clients of a test have one address
  config.address_handshake_every = config.handshake_every;
  cluster.on_session_call = [](core::call c) -> kj::Promise<core::answer> {
    return core::refusal(c, ec::unavailable);
  };
}

void fixture::start() {
  auto tls = transport::make_server_context({certificate.certificate_file, certificate.key_file});
  REQUIRE(tls.has_value());
  auto trust = transport::make_client_context({certificate.certificate_file});
  REQUIRE(trust.has_value());
  client_tls = *trust;
  auto made = gateway::make_gateway_server(io.unixEventPort, config, *tls, cluster, *sender, clock, shared);
  REQUIRE_MESSAGE(made.has_value(), made.error().detail);
  server = kj::mv(*made);
  port = server->port();
}

namespace {

kj::Own<transport::message_stream> dial(fixture& f) {
  const auto to = transport::resolve({"127.0.0.1", f.port});
  REQUIRE(to.has_value());
  return f.get(transport::connect(f.io.unixEventPort, *to, "127.0.0.1", f.client_tls, f.client_limits));
}

capnp::Data::Reader bytes_of(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}

} // namespace

test_client::test_client(fixture& fix)
    : f{fix}, stream{dial(fix)}, network{*stream, capnp::rpc::twoparty::Side::CLIENT,
                                         transport::rpc_options(64)},
      system{capnp::makeRpcClient(network)}, door{[this] {
        capnp::MallocMessageBuilder message;
        auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
        vat.setSide(capnp::rpc::twoparty::Side::SERVER);
        return system.bootstrap(vat).castAs<rpc::Gateway>();
      }()} {}

test_client::greeting test_client::hello() {
  auto request = door.helloRequest();
  request.setVersion(rpc::PROTOCOL_VERSION);
  auto answer = f.get(request.send());
  REQUIRE(answer.getError().getCode() == 0);
  greeting g;
  g.claim.cluster = wire::to_cluster(answer.getCluster());
  g.claim.node = node_id{answer.getNode()};
  REQUIRE(answer.getChallenge().size() == 32);
  std::copy_n(answer.getChallenge().begin(), 32, g.claim.challenge.begin());
  g.claim.exporter = stream->login_exporter();
  return g;
}

std::string test_client::proof(const device_key& k, user_id user, device_id device, session_number session) {
  auto claim = hello().claim;
  claim.user = user;
  claim.device = device;
  claim.session = session;
  return k.sign(transport::login_proof_bytes(claim));
}

rpc::Session::Client test_client::login(const device_key& k, user_id user, device_id device,
                                        std::string* token) {
  const auto signature = proof(k, user, device);
  auto request = door.loginRequest();
  request.setUser(number(user));
  request.setDevice(number(device));
  request.setSignature(bytes_of(signature));
  request.setSessionNumber(1);
  auto answer = f.get(request.send());
  REQUIRE(answer.getError().getCode() == 0);
  if (token != nullptr)
    token->assign(reinterpret_cast<const char*>(answer.getResumeToken().begin()),
                  answer.getResumeToken().size());
  return answer.getSession();
}

rpc::Session::Client test_client::login() {
  f.cluster.devices[{user_id{1}, device_id{2}}] = key.public_half;
  return login(key, user_id{1}, device_id{2});
}

kj::Promise<void> test_receiver::deliver(DeliverContext context) {
  if (r.hangs)
    return kj::NEVER_DONE;
  ++r.delivers;
  const auto params = context.getParams();
  for (const auto item : params.getItems())
    if (item.isMessage())
      r.seqs.push_back(item.getMessage().getIt().getSeq());
  const auto cursor = params.getCursor();
  r.cursor.assign(reinterpret_cast<const char*>(cursor.begin()), cursor.size());
  return kj::READY_NOW;
}

kj::Promise<void> test_receiver::closed(ClosedContext context) {
  r.closed = static_cast<ec>(context.getParams().getError().getCode());
  r.reconnect_after_ms = context.getParams().getReconnectAfterMs();
  return kj::READY_NOW;
}

raw_client::raw_client(fixture& f, int tls_version_max, unsigned from)
    : f_{f}, fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, context_{
                                                                        SSL_CTX_new(TLS_client_method())} {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (from != 0) {
    to.sin_addr.s_addr = htonl(0x7f000000 + from);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  }
  to.sin_port = htons(f.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  fcntl(fd_, F_SETFL, O_NONBLOCK);
  const int one = 1; // or each of its small writes waits 40 ms for the other end's delayed acknowledgement
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  SSL_CTX_set_max_proto_version(context_, tls_version_max);
  SSL_CTX_set_alpn_protos(context_, reinterpret_cast<const unsigned char*>("\x08parley/1"), 9);
  ssl_ = SSL_new(context_);
  SSL_set_fd(ssl_, fd_);
  SSL_set_connect_state(ssl_);
}

raw_client::~raw_client() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
  if (fd_ >= 0)
    ::close(fd_);
}

bool raw_client::handshake() {
  bool done = false;
  f_.until([&] {
    const int r = SSL_do_handshake(ssl_);
    if (r == 1)
      return done = true;
    const auto error = SSL_get_error(ssl_, r);
    refused_ = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return refused_;
  });
  return done;
}

void raw_client::send_plain(std::string_view bytes) {
  (void)!::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void raw_client::send(std::string_view bytes) {
  f_.until([&] {
    const int n = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
    if (n > 0)
      bytes.remove_prefix(static_cast<std::size_t>(n));
    return bytes.empty() || (n <= 0 && SSL_get_error(ssl_, n) != SSL_ERROR_WANT_WRITE);
  });
}

bool raw_client::ended() {
  if (fd_ < 0)
    return true;
  char buffer[4096];
  if (!SSL_is_init_finished(ssl_)) {
    const auto n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n == 0 || (n < 0 && errno != EAGAIN);
  }
  const int n = SSL_read(ssl_, buffer, sizeof buffer);
  if (n > 0) {
    received.append(buffer, static_cast<std::size_t>(n));
    return false;
  }
  return SSL_get_error(ssl_, n) != SSL_ERROR_WANT_READ;
}

void raw_client::reset() {
  const linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(fd_);
  fd_ = -1;
}

void raw_client::finish() {
  if (SSL_is_init_finished(ssl_))
    SSL_shutdown(ssl_);
  ::shutdown(fd_, SHUT_WR);
}

namespace {

kj::AutoCloseFd accepted(fixture& f, int listener) {
  int fd = -1;
  REQUIRE(f.until([&] { return (fd = ::accept(listener, nullptr, nullptr)) >= 0; }));
  return kj::AutoCloseFd{fd};
}

} // namespace

lone_stream::lone_stream(fixture& fix)
    : f{fix},
      tls{transport::make_server_context({f.certificate.certificate_file, f.certificate.key_file}).value()},
      listener{transport::listen_on(*transport::resolve({"127.0.0.1", 0}), 1).value()},
      peer{(f.port = transport::local_port(listener.get()), f)}, stream{f.io.unixEventPort,
                                                                        accepted(f, listener.get()), tls,
                                                                        transport::side::server,
                                                                        f.config.stream} {}

void lone_stream::shake_hands() {
  bool shaken = false;
  auto handshake = stream.handshake().then([&] { shaken = true; }).eagerlyEvaluate(nullptr);
  REQUIRE(peer.handshake());
  REQUIRE(f.until([&] { return shaken; }));
}

std::string words(std::initializer_list<std::uint32_t> halves) {
  std::string bytes;
  for (auto h : halves)
    bytes.append(reinterpret_cast<const char*>(&h), sizeof h);
  return bytes;
}

core::inbox_row row(std::uint64_t pos, std::size_t body_bytes) {
  core::message_news n;
  n.prev = seq_no{pos - 1};
  n.msg.conversation = {3, 4};
  n.msg.seq = seq_no{pos};
  n.msg.body = std::string(body_bytes, 'x');
  return {inbox_pos{pos}, n};
}

} // namespace parley::test
