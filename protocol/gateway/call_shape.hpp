#pragma once
// Bounds on what one message of the RPC protocol makes Cap'n Proto keep or walk: it has none of its own.
#include "protocol/gateway/config.hpp"
#include "protocol/schema/parley.capnp.h"

#include <capnp/rpc.capnp.h>
#include <capnp/schema.h>

#include <set>

namespace parley::gateway {

/// The methods of the door whose results hold a session, by the schema: their ordinals.
inline std::set<std::uint16_t> methods_for_session() {
  std::set<std::uint16_t> out;
  for (const auto method : capnp::Schema::from<rpc::Gateway>().getMethods())
    for (const auto field : method.getResultType().getFields())
      if (field.getType().isInterface() &&
          field.getType().asInterface() == capnp::Schema::from<rpc::Session>())
        out.insert(method.getOrdinal());
  return out;
}

/// Whether the answer to a call holds an object that may be called before the answer has come: a session.
inline bool is_for_session(capnp::rpc::Call::Reader call) {
  static const auto methods = methods_for_session();
  return call.getInterfaceId() == capnp::typeId<rpc::Gateway>() && methods.contains(call.getMethodId());
}

/// False if a message would make Cap'n Proto keep more than the bounds of a connection count:
///
/// - A table of capabilities, or a path into an answer, that is longer than the schema has a use for. Both
///   are kept until the call returns, so a message of a hundred bytes (with elements of no size) could cost a
///   megabyte, in each of many calls under way.
/// - A call whose results are to go anywhere but to the caller. They would be kept, whole, for a `Return`
///   that is to pick them up; they are never written, so no bound on what waits to be written applies to
///   them.
/// - A promise that resolves to another promise, or to something of ours. The first makes a chain that is as
///   long as the client wishes, and is destroyed by recursion. The second needs a `Disembargo`, and an entry
///   until the client answers it. A receiver is either there, or a promise of one that is.
///
/// Throws what Cap'n Proto throws at impossible pointers.
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
    return call.getSendResultsTo().isCaller() &&
           (!target.isPromisedAnswer() || short_path(target.getPromisedAnswer())) && modest(call.getParams());
  }
  case capnp::rpc::Message::RETURN:
    return !m.getReturn().isResults() || modest(m.getReturn().getResults());
  case capnp::rpc::Message::RESOLVE: {
    const auto resolve = m.getResolve();
    return !resolve.isCap() || resolve.getCap().isSenderHosted();
  }
  case capnp::rpc::Message::DISEMBARGO:
    return false; // nothing of ours points back to a client, and nothing of a client's resolves to ours
  default:
    return true;
  }
}

} // namespace parley::gateway
