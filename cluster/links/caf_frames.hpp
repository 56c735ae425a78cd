#pragma once
// The part of CAF's frames that can do harm. A frame has a header of 32 bytes, whose fifth to eighth byte
// announce the length of the payload (big-endian), and then the payload. Frames follow each other.
#include "cluster/links/link_outlet.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::cluster {

/// The most that CAF adds to a batch, a question or an answer: type names, certificates, signatures.
inline constexpr std::uint32_t caf_wrapping_bytes_max = 64 << 10;

/// The connection of a node that announces a larger frame is closed. Both sides have to agree on this bound,
/// so it is part of `link_versions` and no setting: a batch is never above a window.
inline constexpr std::uint32_t caf_payload_bytes_max =
    outlet_config{}.window_bytes_max + caf_wrapping_bytes_max;

/// Follows the frames of one direction of one connection, in pieces of any size, and refuses the first one
/// that announces too much: CAF allocates all that is announced before the first byte has arrived.
///
/// Thread: its connection's. Holds: no bytes, only the position within the current frame.
class frame_follower {
public:
  static constexpr std::uint32_t header_bytes = 32;

  explicit frame_follower(std::uint32_t payload_bytes_max) : payload_bytes_max_{payload_bytes_max} {}

  /// False if `bytes`, or earlier ones, contained a header that announces more than `payload_bytes_max`.
  bool follow(std::string_view bytes);
  /// By the header that was refused.
  std::uint32_t announced() const { return payload_left_; }

private:
  bool objects() const;
  std::size_t read_length(std::string_view bytes);

  std::uint32_t payload_bytes_max_;
  std::uint32_t header_left_ = header_bytes;
  std::uint32_t payload_left_ = 0;
};

} // namespace parley::cluster
