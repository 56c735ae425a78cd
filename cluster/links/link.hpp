#pragma once
// The node transport as its users see it: bytes to a peer, FIFO, free of duplicates, bounded, or a reset.
#include "protocol/values/types.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parley::cluster {

/// Two lanes, each FIFO. Raft frames go to the store, calls and answers to the router.
enum class lane : std::uint8_t { raft = 0, calls = 1 };

/// One item of a lane, for a peer or from it.
struct lane_payload {
  lane on{};
  std::string bytes;
};

/// What arrives. Called from the threads that run actors; must only hand on.
class link_events {
public:
  virtual ~link_events() = default;
  virtual void received(node_id from, lane on, std::vector<std::string> payloads) = 0;
  /// The connection to `peer` ended or begins anew: everything under way on either lane is lost.
  virtual void reset(node_id peer) = 0;
};

} // namespace parley::cluster
