#pragma once
#include "protocol/client/device/receiver.hpp"
#include "protocol/wire/codec.hpp"

namespace parley::client {

/// What the cluster calls. It outlives neither the connection nor the receiver: the RPC system that holds it
/// is destroyed with the link.
class delivery_port final : public rpc::Receiver::Server {
public:
  delivery_port(receiver& to, link_host& host, client_link& link) : to_{to}, host_{host}, link_{link} {}

  kj::Promise<void> deliver(DeliverContext context) override {
    auto params = context.getParams();
    auto rows = wire::to_items(params.getItems());
    auto upto = wire::bytes(params.getCursor());
    context.releaseParams();
    if (host_.link() != &link_)
      return kj::READY_NOW; // a connection on its way out; what it brings comes again
    return to_.take(std::move(rows), std::move(upto));
  }

  kj::Promise<void> closed(ClosedContext context) override {
    auto params = context.getParams();
    if (host_.link() == &link_)
      to_.closed(wire::to_failure(params.getError()),
                 std::chrono::milliseconds{params.getReconnectAfterMs()});
    return kj::READY_NOW;
  }

private:
  receiver& to_;
  link_host& host_;
  client_link& link_;
};

} // namespace parley::client
