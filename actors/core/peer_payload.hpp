#pragma once
// What routers of two nodes say to each other: the calls lane of a link.
#include "actors/core/calls.hpp"
#include "actors/core/shards.hpp"

namespace parley::core {

struct forwarded_call {
  static constexpr auto inside = nested::skippable;
  std::uint64_t number = 0;
  call what;
  template <class F>
  auto fields(F&& f) {
    return f(number, what);
  }
};
struct forwarded_answer {
  static constexpr auto inside = nested::skippable;
  std::uint64_t number = 0;
  answer what;
  template <class F>
  auto fields(F&& f) {
    return f(number, what);
  }
};
struct forwarded_delivery {
  static constexpr auto inside = nested::skippable;
  connection_ref to;
  inbox_pos after{};
  std::vector<inbox_row> rows;
  ec close{};
  std::uint64_t age_us = 0; ///< of the rows when they left: since they were applied
  template <class F>
  auto fields(F&& f) {
    return f(to, after, rows, close, age_us);
  }
};
struct calls_payload {
  std::vector<forwarded_call> items;
  template <class F>
  auto fields(F&& f) {
    return f(items);
  }
};
struct answers_payload {
  std::vector<forwarded_answer> items;
  template <class F>
  auto fields(F&& f) {
    return f(items);
  }
};
struct deliveries_payload {
  std::vector<forwarded_delivery> items;
  template <class F>
  auto fields(F&& f) {
    return f(items);
  }
};
/// "I lead these now": for nodes without a replica that takes part in them. A node that was deposed and elected again
/// serves with new actors, which know of no session: that is seen by the term.
struct leads_payload {
  std::vector<shard_id> shards;
  std::vector<leadership_start> since; ///< of each shard, in the same order
  template <class F>
  auto fields(F&& f) {
    return f(shards, since);
  }
};
/// "My clock says this": said when a session begins, and again every `announce_every`.
struct clock_payload {
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(at);
  }
};
/// "My disk has room for messages", or not, and whether this node is about to end: said when that changes, when a session
/// begins, and again every `announce_every`. Whoever knows which disks are full can say why a shard stores nothing, and
/// nobody hands a leadership to a node that drains.
struct room_payload {
  std::uint8_t has_room = 1;
  std::uint8_t drains = 0;
  template <class F>
  auto fields(F&& f) {
    return f(has_room, drains);
  }
  bool operator==(const room_payload&) const = default;
};
using peer_payload = std::variant<calls_payload, answers_payload, deliveries_payload, leads_payload,
                                  clock_payload, room_payload>;

} // namespace parley::core
