#pragma once
// The node transport as its users see it: bytes to a peer, in order, without duplicates and bounded,
// or else a reset.
#include "cluster/links/node_start.hpp"
#include "protocol/values/types.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// Versions of the node protocol, from the lowest to the highest that a program speaks.
struct version_range {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  template <class F>
  auto fields(F&& f) {
    return f(min, max);
  }
};
/// What this program speaks.
inline constexpr version_range link_versions{1, 1};

/// What two nodes speak with each other: the highest version that both know.
constexpr std::optional<std::uint32_t> highest_common(version_range a, version_range b) {
  const auto highest = a.max < b.max ? a.max : b.max;
  const auto lowest = a.min > b.min ? a.min : b.min;
  return lowest <= highest ? std::optional{highest} : std::nullopt;
}

/// Each of the two lanes is FIFO. Raft frames are for the store, calls and answers for the router.
enum class lane : std::uint8_t { raft = 0, calls = 1 };

/// One item of a lane, for a peer or from it.
struct lane_payload {
  lane on{};
  std::string bytes;
};

/// Receives what arrives. Called from the threads that run actors; implementations only pass it on.
class link_events {
public:
  virtual ~link_events() = default;
  virtual void received(node_id from, lane on, std::vector<std::string> payloads) = 0;
  /// The session with `peer` ended or a new one begins: everything under way on either lane is lost.
  virtual void reset(node_id peer) = 0;
  /// A session with `peer` begins, after its `reset`.
  virtual void begun(node_id peer) = 0;
  /// `by` has seen another life of this node's directory, and proved who it is: this node must not go on.
  virtual void disowned(node_id /*by*/, start_verdict /*why*/) {}
};

} // namespace parley::cluster
