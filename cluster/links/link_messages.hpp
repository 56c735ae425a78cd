#pragma once
// The messages between two links, sent by CAF. Their numbers are plain integers: values from other nodes are
// checked before they become ids.
//
//   A, the caller                                   B, the door at its peer address
//     hello (versions that A speaks) ───────────────►  certificate of a node that may call? a common version?
//     ◄──────────────────────────────────── challenge  that version, session, B's certificate, signature
//     proof (signature; a query's bytes) ───────────►
//     ◄───────────────── accepted (an answer's bytes)  or refused, at any point
//
// Hello and challenge also hold the starts of both nodes (node_start.hpp), which both sign. Each judges the other's
// before there is a session; a start that is new to it is durable there by then.
//
//   and, if it was no query, between the two links, until one sends a goodbye or is silent for too long:
//     batch, ack  ◄────────────────────────────────►
#include "actors/core/archive.hpp"
#include "cluster/links/link.hpp"

#include <caf/error.hpp>
#include <caf/meta/load_callback.hpp>
#include <caf/meta/type_name.hpp>
#include <caf/sec.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace parley::cluster {

/// The one message that nodes of all versions read: fields are appended, nothing else ever changes.
struct link_hello {
  version_range versions;    ///< of the caller
  std::uint8_t is_query = 0; ///< 1: one question, one answer; the asker need not be a known peer
  std::uint64_t from = 0;    ///< node id that the certificate has to name
  std::uint64_t to = 0;      ///< the intended node; 0: any node at this address
  std::uint64_t attempt = 0; ///< chosen by the caller; every answer repeats it
  std::string certificate;   ///< PEM
  std::string nonce;
  node_start start{}; ///< of the caller
  template <class F>
  auto fields(F&& f) {
    return f(versions, is_query, from, to, attempt, certificate, nonce, start);
  }
};
struct link_challenge {
  std::uint32_t version = 0; ///< what the two will speak, chosen by the door; both sign it
  std::uint64_t attempt = 0;
  std::uint64_t session = 0; ///< random, chosen by the door
  std::uint64_t from = 0;
  std::string certificate;
  std::string nonce;
  std::string signature;
  node_start start{}; ///< of the door's node
  template <class F>
  auto fields(F&& f) {
    return f(version, attempt, session, from, certificate, nonce, signature, start);
  }
};
struct link_proof {
  std::uint64_t session = 0;
  std::string signature;
  std::string query;
  /// Of the door's start. If it is not `fits`, there will be no session, and the door's node must not go on.
  start_verdict verdict{};
  template <class F>
  auto fields(F&& f) {
    return f(session, signature, query, verdict);
  }
};
struct link_accepted {
  std::uint64_t attempt = 0;
  std::uint64_t session = 0;
  std::string answer;
  template <class F>
  auto fields(F&& f) {
    return f(attempt, session, answer);
  }
};
struct link_refused {
  std::uint64_t attempt = 0;
  std::string why;
  start_verdict verdict{}; ///< of the caller's start; it counts after the door's challenge
  template <class F>
  auto fields(F&& f) {
    return f(attempt, why, verdict);
  }
};
/// The payloads are written into CAF's buffer one after the other, without a copy of all of them before.
struct link_batch {
  std::uint64_t session = 0;
  std::uint64_t number = 0;         ///< 1, 2, 3 … in one direction of one session
  std::uint64_t bytes_received = 0; ///< in the other direction, so far
  std::vector<lane_payload> payloads;
  template <class F>
  auto fields(F&& f) {
    return f(session, number, bytes_received);
  }
};
/// A link with nothing to send sends it as well, as a sign of life.
struct link_ack {
  std::uint64_t session = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t asks = 0;    ///< not 0: a sign of life is wanted, with this number in `answers`
  std::uint64_t answers = 0; ///< 0: it answers nothing
  template <class F>
  auto fields(F&& f) {
    return f(session, bytes_received, asks, answers);
  }
};
struct link_goodbye {
  std::uint64_t session = 0;
  template <class F>
  auto fields(F&& f) {
    return f(session);
  }
};

/// On CAF's wire a message is one string: its fields in an envelope (docs/formats.md), so that both may grow.
/// What cannot be read ends the connection, as any malformed message of CAF does.
template <class I, class T, class... Rest>
auto inspect_enveloped(I& f, const char* name, T& x, Rest&... rest) {
  std::string bytes;
  if constexpr (I::reads_state)
    bytes = core::encode(x);
  const auto load = [&]() -> caf::error {
    auto read = core::decode<T>(bytes);
    if (!read)
      return caf::sec::invalid_argument;
    x = std::move(*read);
    return caf::none;
  };
  return f(caf::meta::type_name(name), bytes, caf::meta::load_callback(load), rest...);
}

template <class I>
auto inspect(I& f, link_hello& x) {
  return inspect_enveloped(f, "link_hello", x);
}
template <class I>
auto inspect(I& f, link_challenge& x) {
  return inspect_enveloped(f, "link_challenge", x);
}
template <class I>
auto inspect(I& f, link_proof& x) {
  return inspect_enveloped(f, "link_proof", x);
}
template <class I>
auto inspect(I& f, link_accepted& x) {
  return inspect_enveloped(f, "link_accepted", x);
}
template <class I>
auto inspect(I& f, link_refused& x) {
  return inspect_enveloped(f, "link_refused", x);
}
template <class I>
auto inspect(I& f, link_ack& x) {
  return inspect_enveloped(f, "link_ack", x);
}
template <class I>
auto inspect(I& f, link_goodbye& x) {
  return inspect_enveloped(f, "link_goodbye", x);
}
template <class I>
auto inspect(I& f, lane_payload& x) {
  return f(caf::meta::type_name("lane_payload"), x.on, x.bytes);
}
/// The payloads follow the envelope: they are not copied into it.
template <class I>
auto inspect(I& f, link_batch& x) {
  return inspect_enveloped(f, "link_batch", x, x.payloads);
}

} // namespace parley::cluster

// Type ids of a separate block, far from that of the actors, because both blocks are registered together.
CAF_BEGIN_TYPE_ID_BLOCK(parley_links, caf::first_custom_type_id + 100)
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_hello))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_challenge))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_proof))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_accepted))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_refused))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_batch))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_ack))
CAF_ADD_TYPE_ID(parley_links, (parley::cluster::link_goodbye))
CAF_END_TYPE_ID_BLOCK(parley_links)

namespace parley::cluster {

/// All messages that come from other nodes. The door of a node and each of its links accept the same ones, so
/// that one handle type is enough between nodes; each ignores those that are not for it.
using wire_actor =
    caf::typed_actor<caf::reacts_to<link_hello>, caf::reacts_to<link_challenge>, caf::reacts_to<link_proof>,
                     caf::reacts_to<link_accepted>, caf::reacts_to<link_refused>, caf::reacts_to<link_batch>,
                     caf::reacts_to<link_ack>, caf::reacts_to<link_goodbye>>;

} // namespace parley::cluster
