#pragma once
// Where clients reach the other nodes of the cluster: a client that knows them finds the cluster again when
// its seeds have moved.
#include "protocol/values/types.hpp"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace parley::gateway {

/// Owns:   the addresses of all nodes, as the cluster lists them.
/// Thread: any.
class node_addresses {
public:
  static constexpr std::size_t told_max = 8;            ///< to one client
  static constexpr std::size_t address_bytes_max = 262; ///< a name of 255 bytes, a colon and a port

  using list = std::vector<std::pair<node_id, std::string>>; ///< host:port
  void set(list all) {
    std::lock_guard guard{mutex_};
    all_ = std::move(all);
  }
  /// Of the nodes other than `self`, beginning behind it, so that the clients of different nodes are told of
  /// different ones.
  std::vector<std::string> others(node_id self) const {
    std::vector<std::string> out;
    std::lock_guard guard{mutex_};
    std::size_t start = 0;
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (all_[i].first == self)
        start = i + 1;
    for (std::size_t i = 0; i < all_.size() && out.size() < told_max; ++i) {
      const auto& [node, address] = all_[(start + i) % all_.size()];
      if (node != self && !address.empty() && address.size() <= address_bytes_max)
        out.push_back(address);
    }
    return out;
  }

private:
  mutable std::mutex mutex_;
  list all_;
};

} // namespace parley::gateway
