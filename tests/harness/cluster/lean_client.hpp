#pragma once
// The thinnest client that speaks Parley: one connection, the schema as it is, nothing kept and nothing
// retried.
//
// For load generators, which must not cost more than the servers, and for chaos, which wants to see each
// attempt and each push as the wire has it. Thread: one KJ loop's.
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

/// Where connections come from: the loop, the trust in the cluster's CA.
struct lean_context {
  kj::UnixEventPort& port;
  kj::Timer& timer;
  transport::tls_context tls;
  transport::stream_limits limits;
  kj::Duration login_timeout = 5 * kj::SECONDS;
  session_number last_session{}; ///< of all devices together: higher with each login is all that is asked
};
/// Throws std::runtime_error with a sentence.
lean_context make_lean_context(kj::AsyncIoContext& io, const std::string& ca_file);

struct lean_device {
  user_id user{};
  device_id device{};
  client::key_pair key;
  std::string phone;
};

/// An error that a result carried, thrown where a promise chain has no other way out.
kj::Exception refusal(ec code, const char* what);
/// The code inside such an exception, else `none`.
ec refusal_code(const kj::Exception& e);

class lean_connection {
public:
  lean_connection(lean_context& context, kj::Own<transport::message_stream> stream);
  KJ_DISALLOW_COPY(lean_connection);

  /// TCP, TLS, nothing said yet. Rejects with DISCONNECTED. `from`: which loopback address to call from, 0
  /// any: limits per address are there for strangers, and a load generator plays many. Connecting blocks:
  /// loopback only.
  static kj::Promise<kj::Own<lean_connection>> open(lean_context& context,
                                                    const transport::socket_address& to, unsigned from = 0);

  rpc::Gateway::Client gateway() { return gateway_; }
  /// As the client library does once it is logged in: the node need not keep the gateway for it.
  void let_go_of_gateway() { gateway_ = nullptr; }
  rpc::Session::Client session() { return KJ_ASSERT_NONNULL(session_); }
  node_id node() const { return node_; }

  /// Signs the gateway's challenge. Rejects with a `refusal` if the cluster says no.
  kj::Promise<void> login(const lean_device& who);
  /// Asks for a code; `code_of` is polled until it knows it. Fills `who`'s user and device.
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
