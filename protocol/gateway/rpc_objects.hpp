#pragma once
// The capabilities that a client holds, and the edge at which its calls enter: no exception that is
// thrown behind the edge reaches the peer.
#include "protocol/gateway/connection.hpp"
#include "protocol/gateway/rows.hpp"

#include <tl/expected.hpp>

namespace parley::gateway {

rpc::Gateway::Client make_door(kj::Own<connection> c);
rpc::Session::Client make_session(kj::Own<connection> c);
/// Answers every call with that error. Holds nothing of the connection.
rpc::Session::Client make_refused_session(ec why, std::uint32_t retry_after_ms);

/// For `retryAfterMs`.
inline std::uint32_t milliseconds(std::chrono::nanoseconds d) {
  return static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::milliseconds>(d).count());
}

/// Answers a call with an error.
template <class Context>
kj::Promise<void> refuse(Context& context, ec why, std::uint32_t retry_after_ms = 0) {
  auto results = context.getResults(capnp::MessageSize{words_of(why) + 16, 1});
  write(results.initError(), why, retry_after_ms);
  return kj::READY_NOW;
}

/// Takes values out of a call's parameters. Pointers that point nowhere, cycles and overlaps make Cap'n
/// Proto throw: then the answer is `bad_request`.
template <class Read>
auto read_params(Read&& body) -> tl::expected<decltype(body()), ec> {
  try {
    return body();
  } catch (const kj::Exception&) {
    return tl::unexpected(ec::bad_request);
  }
}

/// Counts the call while it is under way, and turns whatever is thrown into `internal`. Otherwise an
/// exception's text, file and line would be sent to the peer. It is no fault if the connection has gone: its session gave
/// up what it had asked.
template <class Context, class Body>
kj::Promise<void> at_edge(connection& c, Context context, Body&& body) {
  c.begin_call();
  return kj::evalNow(kj::fwd<Body>(body))
      .catch_([&c, context](kj::Exception&&) mutable -> kj::Promise<void> {
        if (const auto why = c.refusal(); why != ec::none)
          return refuse(context, why);
        add(c.parts().metrics.internal_errors);
        return refuse(context, ec::internal);
      })
      .attach(kj::defer([held = kj::addRef(c)]() mutable { held->end_call(); }));
}

/// The answer to a `Call`. An answer of another kind is a bug behind the backend: `internal`.
template <class Call>
const typename Call::answer& answer_to(const core::answer& a) {
  const auto* it = core::answer_if<Call>(a);
  KJ_REQUIRE(it != nullptr, "the answer is of another kind than the call");
  return *it;
}

} // namespace parley::gateway
