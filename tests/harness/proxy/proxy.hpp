#pragma once
// A network that can be broken: TCP connections between the nodes of a test, and from its clients, lead
// through this proxy, which does to each direction what its `path` says.
//
//   caller ══► door of a place ──► flow (caller → place) ──► place's own port
//          ◄══                 ◄── flow (place → caller) ◄──
//
// TLS stays end to end, so bytes cannot be lost, reordered or repeated unseen: below TCP these appear as delay
// and as resets.
//
// Owns:   the doors, the connections, and one thread with one epoll loop.
// Thread: all functions may be called from any thread; they wait until the proxy's thread has done it. What
//         `set` changes is in force when it returns.
// Bounds: `connections_max`; what is in memory for each direction of a connection is bounded by `flow`.
#include "tests/harness/proxy/path.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace parley::test {

class proxy {
public:
  static constexpr std::size_t connections_max = 4096;
  /// Names the caller of a connection from 127.0.0.1:`from` to a door at port `door`. Called on the proxy's
  /// thread. An empty answer refuses the connection.
  using who_calls = std::function<std::optional<place>(std::uint16_t from, std::uint16_t door)>;

  /// For places 0 … `places` - 1.
  explicit proxy(std::size_t places, std::uint64_t seed = 1);
  ~proxy(); ///< ends all connections
  proxy(const proxy&) = delete;
  proxy& operator=(const proxy&) = delete;

  /// Listens at 127.0.0.1:`port` (0: any) for callers of `to`, which itself listens at 127.0.0.1:`target`.
  /// Returns the port.
  std::uint16_t open(place to, std::uint16_t target, who_calls who, std::uint16_t port = 0);
  /// All of them at one moment.
  void set(path_settings settings);
  path as(place from, place to);
  path_counters counters(place from, place to);
  std::size_t connections();
  /// Callers that `who_calls` did not know, or that were too many.
  std::uint64_t strangers();

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::test
