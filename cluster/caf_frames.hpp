#pragma once
// CAF's frames, as far as they can hurt: 32 bytes of header, of which the fifth to the eighth announce how
// long the payload is (big-endian), then the payload; repeated.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::cluster {

/// Follows the frames of one direction of one connection, in whatever pieces they come, and objects to the
/// first that announces too much: CAF sets aside all that is announced before a byte of it came.
///
/// Thread: its connection's. Holds: nothing of what it saw but where in a frame it is.
class frame_follower {
public:
  static constexpr std::uint32_t header_bytes = 32;

  explicit frame_follower(std::uint32_t payload_bytes_max) : payload_bytes_max_{payload_bytes_max} {}

  /// False: among `bytes`, or before, was a header that announces more than `payload_bytes_max`.
  bool follow(std::string_view bytes) {
    while (!bytes.empty() && !objects()) {
      if (header_left_ > length_ends_before)
        bytes.remove_prefix(read_length(bytes));
      else if (header_left_ > 0)
        bytes.remove_prefix(skip(header_left_, bytes.size()));
      else
        bytes.remove_prefix(skip(payload_left_, bytes.size()));
      if (header_left_ == 0 && payload_left_ == 0)
        header_left_ = header_bytes;
    }
    return !objects();
  }

  /// By the header that was objected to.
  std::uint32_t announced() const { return payload_left_; }

private:
  static constexpr std::uint32_t length_ends_before =
      header_bytes - 8; ///< bytes of the header left behind it

  bool objects() const { return header_left_ <= length_ends_before && payload_left_ > payload_bytes_max_; }

  /// The header's first eight bytes go through the number: the last four of them stay in it.
  std::size_t read_length(std::string_view bytes) {
    const auto n = std::min<std::size_t>(bytes.size(), header_left_ - length_ends_before);
    for (const char c : bytes.substr(0, n))
      payload_left_ = payload_left_ << 8 | static_cast<unsigned char>(c);
    header_left_ -= static_cast<std::uint32_t>(n);
    return n;
  }
  static std::size_t skip(std::uint32_t& left, std::size_t available) {
    const auto n = std::min<std::size_t>(left, available);
    left -= static_cast<std::uint32_t>(n);
    return n;
  }

  std::uint32_t payload_bytes_max_;
  std::uint32_t header_left_ = header_bytes;
  std::uint32_t payload_left_ = 0;
};

} // namespace parley::cluster
