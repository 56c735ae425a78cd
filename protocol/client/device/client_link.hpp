#pragma once
// One connection as the device sees it: the line, the RPC system on it, and the calls under way.
#include "protocol/client/device/dialer.hpp"
#include "protocol/client/rules/calls_under_way.hpp"
#include "protocol/client/values.hpp"
#include "protocol/schema/parley.capnp.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async.h>
#include <kj/timer.h>

namespace parley::client {

/// One connection of a device, first without a session and then with one.
///
/// Owns:   the line, the RPC system on it and every task of the connection. Destroy it from an event of its
///         own, never from inside a call or a task.
/// Thread: that of the loop.
/// Holds:  `over` resolves once, when the connection is lost or `end` was called; the first reason stays.
/// Errors: a call without an answer in `call_timeout`, and a task that fails, end the connection.
class client_link final : private kj::TaskSet::ErrorHandler {
public:
  client_link(kj::Own<line> l, kj::Timer& timer, std::chrono::milliseconds call_timeout);

  rpc::Gateway::Client& gateway() { return gateway_; } ///< until there is a session
  rpc::Session::Client& session() { return KJ_REQUIRE_NONNULL(session_); }
  /// The gateway is not needed any more, so the node may release it.
  void set_session(rpc::Session::Client s) {
    session_ = kj::mv(s);
    gateway_ = nullptr;
  }
  std::array<std::uint8_t, 32> exporter() const { return line_->exporter(); }

  /// The call has to be answered within `call_timeout`; if it is not, the link ends with `timed_out`.
  /// The time counts from the next turn of the loop: a program that did something else before the call has a
  /// timer that stands still.
  calls_under_way::ticket begin_call();
  /// A task of this connection: if it fails, the connection is over.
  void add(kj::Promise<void> task) { tasks_.add(kj::mv(task)); }
  /// The first reason stays.
  void end(failure why);
  bool ended() const { return why_.code != ec::none; }
  kj::Promise<void> over() { return over_.addBranch(); }
  const failure& why() const { return why_; }
  instant last_call() const { return calls_.last(); }

private:
  void taskFailed(kj::Exception&& e) override;
  void watch(instant due);
  void refresh();

  kj::Timer& timer_;
  failure why_{ec::none, {}, {}};
  calls_under_way calls_;
  bool watching_ = false;
  bool refreshing_ = false;
  kj::Own<kj::PromiseFulfiller<void>> ended_;
  kj::ForkedPromise<void> over_;
  kj::Own<line> line_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system_;
  rpc::Gateway::Client gateway_;
  kj::Maybe<rpc::Session::Client> session_;
  kj::TaskSet tasks_;
};

/// Room for a request with `body_bytes` of data: what is built without a size starts at 8 KiB.
inline capnp::MessageSize request_size(std::size_t body_bytes = 0) {
  return {24 + (body_bytes + 7) / 8, 1};
}

inline kj::Duration duration(std::chrono::milliseconds d) {
  return d.count() * kj::MILLISECONDS;
}
/// Between the loop's time and that of the rules.
inline instant now(const kj::Timer& timer) {
  return std::chrono::nanoseconds{(timer.now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS};
}
inline kj::TimePoint point(instant at) {
  return kj::origin<kj::TimePoint>() + at.count() * kj::NANOSECONDS;
}

} // namespace parley::client
