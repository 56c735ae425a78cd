#pragma once
// What the RPC system would keep, or walk, without asking how much it is.
#include "protocol/gateway/config.hpp"

#include <capnp/rpc.capnp.h>

namespace parley::gateway {

/// False: a table of capabilities or a path into an answer is longer than the schema has a use for. Both are
/// kept until the call returns, so that a message of a hundred bytes (elements of no size) could cost a
/// megabyte, and calls under way are many. Throws what Cap'n Proto throws at impossible pointers.
inline bool is_modest(capnp::rpc::Message::Reader m, const gateway_config& config) {
  const auto short_path = [&](capnp::rpc::PromisedAnswer::Reader a) {
    return a.getTransform().size() <= config.path_steps_max;
  };
  const auto modest = [&](capnp::rpc::Payload::Reader p) {
    const auto table = p.getCapTable();
    if (table.size() > config.capabilities_max)
      return false;
    for (const auto c : table)
      if (c.isReceiverAnswer() && !short_path(c.getReceiverAnswer()))
        return false;
    return true;
  };
  switch (m.which()) {
  case capnp::rpc::Message::CALL: {
    const auto call = m.getCall();
    const auto target = call.getTarget();
    return (!target.isPromisedAnswer() || short_path(target.getPromisedAnswer())) && modest(call.getParams());
  }
  case capnp::rpc::Message::RETURN:
    return !m.getReturn().isResults() || modest(m.getReturn().getResults());
  default:
    return true;
  }
}

} // namespace parley::gateway
