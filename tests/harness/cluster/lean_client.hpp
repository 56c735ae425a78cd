#pragma once
// A minimal client that speaks Parley's protocol: one connection, the plain schema, nothing
// stored and nothing retried.
//
// It is for load generators, which must not cost more than the servers, and for tests that need to see
// each attempt and each push exactly as it is on the wire. Thread: that of one KJ loop.
#include "protocol/client/store/keys.hpp"
#include "protocol/schema/parley.capnp.h"
#include "protocol/transport/message_stream.hpp"
#include "protocol/transport/socket.hpp"
#include "protocol/wire/codec.hpp"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include <functional>
#include <optional>
#include <string>

namespace parley::test {

/// What all connections share: the loop, and the trust in the cluster's CA.
struct lean_context {
  kj::UnixEventPort& port;
  kj::Timer& timer;
  transport::tls_context tls;
  transport::stream_limits limits;
  kj::Duration login_timeout = 5 * kj::SECONDS;
  session_number last_session{}; ///< shared by all devices: each login only needs a higher number
                                 ///< than the one before
};
/// Throws std::runtime_error with a sentence.
lean_context make_lean_context(kj::AsyncIoContext& io, const std::string& ca_file);

struct lean_device {
  user_id user{};
  device_id device{};
  client::key_pair key;
  std::string phone;
  std::string ticket; ///< of the last code that was asked for
};

/// An error code that a result carried, as an exception for promise chains that have no other
/// way to report it.
kj::Exception refusal(ec code, const char* what);
/// The code inside such an exception, or `none`.
ec refusal_code(const kj::Exception& e);

/// Where client `who` connects from at one of several attempts to register (`from` of `lean_connection::open`): each is in a
/// network of its own, because one network gets few codes of a number.
constexpr unsigned lean_source(std::size_t who, unsigned attempt) {
  return static_cast<unsigned>(who) + 1 + 250 * attempt;
}

class lean_connection {
public:
  lean_connection(lean_context& context, kj::Own<transport::message_stream> stream);
  KJ_DISALLOW_COPY(lean_connection);

  /// Connects by TCP and TLS, and sends nothing yet. Rejects with DISCONNECTED. `from` selects the
  /// loopback address to connect from (0: any): the limits per address are meant for strangers, and a
  /// load generator plays many clients. Connecting blocks, so use this for loopback only.
  static kj::Promise<kj::Own<lean_connection>> open(lean_context& context,
                                                    const transport::socket_address& to, unsigned from = 0);

  rpc::Gateway::Client gateway() { return gateway_; }
  /// Releases the gateway after login, as the client library does: the node need not keep
  /// it for this connection.
  void let_go_of_gateway() { gateway_ = nullptr; }
  rpc::Session::Client session() { return KJ_ASSERT_NONNULL(session_); }
  node_id node() const { return node_; }

  /// Signs the gateway's challenge. Rejects with a `refusal` if the cluster refuses the login.
  kj::Promise<void> login(const lean_device& who);
  /// Requests a code; `code_of` is polled until it returns the code. Fills in `who`'s user and device.
  kj::Promise<void> enroll(lean_device& who,
                           std::function<std::optional<std::string>(const std::string&)> code_of);

private:
  kj::Promise<std::string> wait_code(std::string phone,
                                     std::function<std::optional<std::string>(const std::string&)> code_of,
                                     unsigned tries_left);
  lean_context& context_;
  kj::Own<transport::message_stream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  rpc::Gateway::Client gateway_;
  kj::Maybe<rpc::Session::Client> session_;
  node_id node_{};
};

} // namespace parley::test
