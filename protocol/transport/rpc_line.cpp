#include "protocol/transport/rpc_line.hpp"

#include <capnp/message.h>
#include <kj/debug.h>

namespace parley::transport {
namespace {

using capnp::rpc::twoparty::Side;
using capnp::rpc::twoparty::VatId;

/// The name of the other end: one for servers and one for clients, shared by all connections.
class vat_name {
public:
  explicit vat_name(Side s) { message_.initRoot<VatId>().setSide(s); }
  VatId::Reader get() { return message_.getRoot<VatId>().asReader(); }

private:
  capnp::MallocMessageBuilder message_{4};
};

} // namespace

class rpc_line::outgoing final : public capnp::OutgoingRpcMessage {
public:
  outgoing(rpc_line& line, unsigned first_segment_words)
      : line_{line}, message_{first_segment_words == 0 ? capnp::SUGGESTED_FIRST_SEGMENT_WORDS
                                                       : first_segment_words} {}

  capnp::AnyPointer::Builder getBody() override { return message_.getRoot<capnp::AnyPointer>(); }
  void send() override {
    KJ_REQUIRE(message_.sizeInWords() < line_.options_.traversalLimitInWords,
               "longer than what the peer takes");
    line_.stream_.write(message_.getSegmentsForOutput());
    if (line_.watcher_ != nullptr)
      line_.watcher_->message_sent(message_.getRoot<capnp::rpc::Message>().asReader());
  }
  std::size_t sizeInWords() override { return message_.sizeInWords(); }

private:
  rpc_line& line_;
  capnp::MallocMessageBuilder message_;
};

kj::Maybe<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> rpc_line::connect(VatId::Reader to) {
  if ((to.getSide() == Side::SERVER) == (side_ == side::server))
    return nullptr; // that is this end
  return as_connection();
}

kj::Promise<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> rpc_line::accept() {
  if (side_ == side::client || accepted_)
    return kj::NEVER_DONE;
  accepted_ = true;
  return as_connection();
}

kj::Own<capnp::RpcFlowController> rpc_line::newStream() {
  return capnp::RpcFlowController::newFixedWindowController(stream_.window_bytes());
}

VatId::Reader rpc_line::getPeerVatId() {
  static thread_local vat_name client{Side::CLIENT};
  static thread_local vat_name server{Side::SERVER};
  return side_ == side::server ? client.get() : server.get();
}

kj::Own<capnp::OutgoingRpcMessage> rpc_line::newOutgoingMessage(unsigned first_segment_words) {
  return kj::heap<outgoing>(*this, first_segment_words);
}

kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> rpc_line::receiveIncomingMessage() {
  return stream_.receive(options_);
}

kj::Promise<void> rpc_line::shutdown() {
  return stream_.end();
}

} // namespace parley::transport
