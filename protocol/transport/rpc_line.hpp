#pragma once
// Cap'n Proto's network of two vats, over a message_stream.
//
// `capnp::TwoPartyVatNetwork` is made for streams whose writes wait and which fail by themselves. It
// keeps a promise for the last write, one for the end of the connection, one for a second connection that
// never comes, and a canceller around every read: 3.5 KiB for each idle connection, and several promises
// per message. A message_stream's writes do not wait, and when it closes, its reads end; so this class
// needs none of them.
#include "protocol/transport/message_stream.hpp"

#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.capnp.h>

namespace parley::transport {

/// Is told what the RPC system sends. Called from inside it: note what happened, and return.
class line_watcher {
public:
  virtual ~line_watcher() noexcept(false) = default;
  virtual void message_sent(capnp::rpc::Message::Reader message) = 0;
};

/// Thread: that of the stream. The stream outlives it, and it outlives the RPC system on it.
class rpc_line final : public capnp::TwoPartyVatNetworkBase,
                       private capnp::TwoPartyVatNetworkBase::Connection {
public:
  /// `options` bound what is received. Longer messages are not sent, either (`rpc_options`). `watcher` may be
  /// null; it outlives the line.
  rpc_line(message_stream& stream, side which, const capnp::ReaderOptions& options,
           line_watcher* watcher = nullptr)
      : stream_{stream}, options_{options}, side_{which}, watcher_{watcher} {}
  KJ_DISALLOW_COPY(rpc_line);

  // capnp::VatNetwork
  kj::Maybe<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>>
  connect(capnp::rpc::twoparty::VatId::Reader to) override;
  /// A server's line is accepted once; after that the promise never resolves.
  kj::Promise<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> accept() override;

private:
  class outgoing;

  // Connection
  kj::Own<capnp::RpcFlowController> newStream() override;
  capnp::rpc::twoparty::VatId::Reader getPeerVatId() override;
  kj::Own<capnp::OutgoingRpcMessage> newOutgoingMessage(unsigned first_segment_words) override;
  kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> receiveIncomingMessage() override;
  kj::Promise<void> shutdown() override;

  kj::Own<capnp::TwoPartyVatNetworkBase::Connection> as_connection() {
    return {static_cast<capnp::TwoPartyVatNetworkBase::Connection*>(this), kj::NullDisposer::instance};
  }

  message_stream& stream_;
  capnp::ReaderOptions options_;
  side side_;
  line_watcher* watcher_;
  bool accepted_ = false;
};

} // namespace parley::transport
