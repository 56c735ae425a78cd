#pragma once
// A gateway on a loopback socket with TLS, a cluster that is played by the test, and clients, decent and
// hostile; all on one loop. Nothing sleeps: `until` polls with a deadline.
#include "protocol/gateway/server.hpp"
#include "protocol/schema/parley.capnp.h"
#include "protocol/transport/login_proof.hpp"
#include "protocol/transport/socket.hpp"
#include "tests/support/patience.hpp"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace parley::test {

using gateway::connection_sink;

/// A self-signed certificate for 127.0.0.1, in a directory of its own.
class test_certificate {
public:
  test_certificate();
  ~test_certificate();
  std::string certificate_file, key_file;

private:
  std::string directory_;
};

struct device_key {
  EVP_PKEY* pair = nullptr;
  std::array<std::uint8_t, 32> public_half{};
  device_key();
  ~device_key() { EVP_PKEY_free(pair); }
  device_key(const device_key&) = delete;
  std::string sign(std::string_view bytes) const;
};

/// The cluster, as the test wants it.
struct fake_cluster final : gateway::backend {
  using answers = std::function<kj::Promise<core::answer>(core::call)>;
  struct its_session;

  std::map<std::pair<user_id, device_id>, std::array<std::uint8_t, 32>> devices;
  answers on_call;         ///< before login; find_device is answered from `devices` if this is empty
  answers on_session_call; ///< after login
  /// When and how a session is opened; at once, with `open_error`, if this is empty.
  std::function<kj::Promise<ec>(connection_sink&)> on_open;
  std::vector<core::call> calls;
  std::deque<core::inbox_row> queue;
  core::moment applied_at{}; ///< of all of them
  std::vector<inbox_pos> receiving_from;
  std::size_t receives_max = ~std::size_t{0}; ///< then the user has made too many
  std::vector<connection_sink*> sinks;
  std::vector<session_number> opened; ///< the numbers of all sessions asked for
  std::size_t live_sessions = 0;
  ec open_error = ec::none;
  inbox_pos acknowledged{};

  kj::Promise<core::answer> ask(core::call what) override;
  kj::Promise<gateway::login_result> open_session(const gateway::login_request& who,
                                                  connection_sink& sink) override;
};

struct fixed_clock final : wall_clock {
  unix_ms at{1'700'000'000'000};
  unix_ms now() const override { return at; }
};

struct recording_sender final : gateway::code_sender {
  std::vector<std::pair<std::string, std::string>> sent;
  ec outcome = ec::none;
  kj::Promise<ec> send(std::string phone, std::string code) override {
    sent.emplace_back(std::move(phone), std::move(code));
    return ec{outcome};
  }
};

struct fixture {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  test_certificate certificate;
  fake_cluster cluster;
  recording_sender codes;
  gateway::code_sender* sender = &codes; ///< whom `start` gives to the gateway
  fixed_clock clock;
  gateway::gateway_shared shared;
  gateway::gateway_config config;
  kj::Own<gateway::gateway_server> server;
  std::uint16_t port = 0; ///< of the server, or of another process's
  transport::tls_context client_tls;
  transport::stream_limits client_limits = transport::stream_limits::for_client();

  fixture();
  void start();

  std::uint64_t closes(transport::close_reason r) const {
    return shared.metrics.closes[static_cast<std::size_t>(r)].load();
  }
  template <class Condition>
  bool until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + patient(std::chrono::seconds{10});
    for (int turns = 0; !condition(); ++turns) {
      if (std::chrono::steady_clock::now() > end)
        return false;
      if (turns < 20) // most is a few turns away, and no clock needs to tick for it
        io.waitScope.poll();
      else
        io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
    }
    return true;
  }
  bool closed_for(transport::close_reason r) {
    return until([&] { return closes(r) == 1 && server->connections() == 0; });
  }
  template <class T>
  auto get(T&& promise) {
    return io.provider->getTimer()
        .timeoutAfter(patient(10 * kj::SECONDS), kj::fwd<T>(promise))
        .wait(io.waitScope);
  }
};

/// A client with the real stream and RPC system.
struct test_client {
  fixture& f;
  kj::Own<transport::message_stream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system;
  rpc::Gateway::Client door;

  explicit test_client(fixture& fix);

  struct greeting {
    transport::login_claim claim; ///< without user and device
  };
  greeting hello();
  std::string proof(const device_key& key, user_id user, device_id device,
                    session_number session = session_number{1});
  /// Logs in, or fails the test.
  rpc::Session::Client login(const device_key& key, user_id user, device_id device,
                             std::string* token = nullptr);
  /// As a device that the cluster knows.
  rpc::Session::Client login();
  device_key key;
};

struct test_receiver final : rpc::Receiver::Server {
  struct record {
    std::vector<std::uint64_t> seqs;
    std::string cursor;
    std::size_t delivers = 0;
    ec closed = ec::none;
    std::uint32_t reconnect_after_ms = 0;
    bool hangs = false;
  };
  record& r;
  explicit test_receiver(record& where) : r{where} {}
  kj::Promise<void> deliver(DeliverContext context) override;
  kj::Promise<void> closed(ClosedContext context) override;
};

/// Bytes without manners, over TLS or not.
class raw_client {
public:
  /// `from`: the last number of its own address, 127.0.0.N; 0 is the usual one.
  raw_client(fixture& f, int tls_version_max = TLS1_3_VERSION, unsigned from = 0);
  ~raw_client();
  bool handshake(); ///< polls until done or refused
  void send_plain(std::string_view bytes);
  void send(std::string_view bytes);
  bool ended();  ///< reads what there is; true at the end of the connection
  void reset();  ///< as a network does: RST
  void finish(); ///< nothing more to say, but still listening
  SSL* ssl() { return ssl_; }
  std::string received;

private:
  fixture& f_;
  int fd_;
  SSL_CTX* context_;
  SSL* ssl_;
  bool refused_ = false;
};

/// A server's end of a connection without a server, and its peer.
struct lone_stream {
  explicit lone_stream(fixture& fix);
  /// Both shake hands, or the test fails.
  void shake_hands();

  fixture& f;
  transport::tls_context tls;
  kj::AutoCloseFd listener;
  raw_client peer;
  transport::message_stream stream;
};

std::string words(std::initializer_list<std::uint32_t> halves);
core::inbox_row row(std::uint64_t pos, std::size_t body_bytes);

} // namespace parley::test
