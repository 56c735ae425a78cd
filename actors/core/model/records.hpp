#pragma once
// What is stored of a device and of a node.
#include "actors/core/archive.hpp"
#include "protocol/values/types.hpp"

#include <array>
#include <string>

namespace parley::core {

/// One of a user's devices.
struct device_record {
  static constexpr auto inside = nested::grows;
  device_id id{};
  std::array<std::uint8_t, 32> key{}; ///< Ed25519 public key
  std::string name;                   ///< shown to its owner, ≤ 64 bytes
  unix_ms since{};
  template <class F>
  auto fields(F&& f) {
    return f(id, key, name, since);
  }
};

/// A node of the cluster, as the meta shard keeps it.
struct node_record {
  static constexpr auto inside = nested::grows;
  node_id id{};
  disk_id disk{};
  std::string peer_address;   ///< host:port of the node transport
  std::string client_address; ///< host:port of the gateway
  template <class F>
  auto fields(F&& f) {
    return f(id, disk, peer_address, client_address);
  }
  bool operator==(const node_record&) const = default;
};

} // namespace parley::core
