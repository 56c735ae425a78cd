#pragma once
// What the network does to bytes on their way from one place to another.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley::test {

/// Node n is place n; all clients together are place 0.
using place = std::size_t;
inline constexpr place clients_place = 0;

/// One direction between two places, whoever opened the connections that carry it.
struct path {
  enum class mode : std::uint8_t {
    pass,
    cut,       ///< connections that were opened in this direction are reset, and new ones are refused
    blackhole, ///< bytes are swallowed, and so is the end of a connection. A connection that lost bytes is reset
               ///< when the fault is over, because what follows would make no sense without them
    stall,     ///< nothing moves; when the fault is over, everything arrives
  } how = mode::pass;
  std::chrono::milliseconds delay{0}, jitter{0}; ///< delay ± jitter, never out of order
  std::uint64_t bytes_per_second = 0;            ///< of each connection; 0: unlimited
  std::uint64_t cut_after = 0; ///< a connection that has passed this many bytes is cut; 0: never
  bool operator==(const path&) const = default;
};

struct path_setting {
  place from = 0, to = 0;
  path as;
};
/// All of these change at the same moment.
using path_settings = std::vector<path_setting>;

/// What happened in one direction, from the start of the proxy on.
struct path_counters {
  std::uint64_t opened = 0;    ///< connections in this direction
  std::uint64_t refused = 0;   ///< connections that `cut` refused
  std::uint64_t cut = 0;       ///< connections that `cut` or `cut_after` ended
  std::uint64_t torn = 0;      ///< connections that were reset because they had lost bytes
  std::uint64_t bytes = 0;     ///< delivered
  std::uint64_t swallowed = 0; ///< bytes, and attempts to connect
  std::uint64_t held = 0;      ///< bytes that `stall` kept waiting
  std::uint64_t delayed = 0;   ///< bytes
  std::uint64_t paced = 0;     ///< bytes that were delivered while a rate was set

  path_counters& operator+=(const path_counters& o) {
    opened += o.opened, refused += o.refused, cut += o.cut, torn += o.torn, bytes += o.bytes;
    swallowed += o.swallowed, held += o.held, delayed += o.delayed, paced += o.paced;
    return *this;
  }
};

} // namespace parley::test
