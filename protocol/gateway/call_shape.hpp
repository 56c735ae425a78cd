#pragma once
// Bounds on what one message of the RPC protocol makes Cap'n Proto keep or walk: it has none of its own.
#include "protocol/gateway/config.hpp"

#include <capnp/rpc.capnp.h>

namespace parley::gateway {

/// False if a table of capabilities, or a path into an answer, is longer than the schema has a use for.
/// Cap'n Proto keeps both until the call returns, so a message of a hundred bytes (with elements of no
/// size) could cost a megabyte, in each of many calls under way. Throws what Cap'n Proto throws at
/// impossible pointers.
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
