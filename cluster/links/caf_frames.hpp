#pragma once
// CAF's frames, as far as they can hurt: 32 bytes of header, of which the fifth to the eighth announce how
// long the payload is (big-endian), then the payload; repeated.
#include "cluster/links/link_outlet.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::cluster {

/// What CAF puts around a batch, or around a question or an answer: type names, certificates, signatures.
inline constexpr std::uint32_t caf_wrapping_bytes_max = 64 << 10;

/// A frame between nodes that announces more costs its sender the connection. Both sides have to agree on it,
/// so it is part of `link_version` and no setting: a batch is never above a window.
inline constexpr std::uint32_t caf_payload_bytes_max =
    outlet_config{}.window_bytes_max + caf_wrapping_bytes_max;

/// Follows the frames of one direction of one connection, in whatever pieces they come, and objects to the
/// first that announces too much: CAF sets aside all that is announced before a byte of it came.
///
/// Thread: its connection's. Holds: nothing of what it saw but where in a frame it is.
class frame_follower {
public:
  static constexpr std::uint32_t header_bytes = 32;

  explicit frame_follower(std::uint32_t payload_bytes_max) : payload_bytes_max_{payload_bytes_max} {}

  /// False: among `bytes`, or before, was a header that announces more than `payload_bytes_max`.
  bool follow(std::string_view bytes);
  /// By the header that was objected to.
  std::uint32_t announced() const { return payload_left_; }

private:
  bool objects() const;
  std::size_t read_length(std::string_view bytes);

  std::uint32_t payload_bytes_max_;
  std::uint32_t header_left_ = header_bytes;
  std::uint32_t payload_left_ = 0;
};

} // namespace parley::cluster
