#include "cluster/links/caf_frames.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/config.hpp>
#include <caf/error.hpp>
#include <caf/sec.hpp>

#include <algorithm>

namespace parley::cluster {

static constexpr std::uint32_t left_behind_length = frame_follower::header_bytes - 8;

static std::size_t skip(std::uint32_t& left, std::size_t available) {
  const auto n = std::min<std::size_t>(left, available);
  left -= static_cast<std::uint32_t>(n);
  return n;
}

bool frame_follower::follow(std::string_view bytes) {
  while (!bytes.empty() && !objects()) {
    if (header_left_ > left_behind_length)
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

bool frame_follower::objects() const {
  return header_left_ <= left_behind_length && payload_left_ > payload_bytes_max_;
}

/// The first eight bytes of the header are shifted through this number, which keeps the last four of them.
std::size_t frame_follower::read_length(std::string_view bytes) {
  const auto n = std::min<std::size_t>(bytes.size(), header_left_ - left_behind_length);
  for (const char c : bytes.substr(0, n))
    payload_left_ = payload_left_ << 8 | static_cast<unsigned char>(c);
  header_left_ -= static_cast<std::uint32_t>(n);
  return n;
}

} // namespace parley::cluster

namespace caf {

static_assert(CAF_VERSION == 1706,
              "look again whether its binary_deserializer::begin_sequence is still like this");

// Lengths within a frame. CAF 0.17.6 also trusts those: a few bytes to any actor that announce "a buffer of
// 2^32-1 bytes follows" make it fill 4 GiB with zeros before it checks whether so many have arrived. So its
// function that reads a length is replaced (a definition in the program takes precedence over the library's)
// by one that knows where the frame ends. Everything that nodes send takes at least one byte for each counted
// item; only CAF's vector<bool> would not.
error binary_deserializer::begin_sequence(size_t& list_size) {
  std::uint32_t length = 0;
  std::uint8_t seven_bits = 0x80; // the highest bit: more follow
  for (int shift = 0; seven_bits & 0x80; shift += 7) {
    if (shift > 28)
      return sec::end_of_stream; // no number of 32 bits
    if (auto e = apply_raw(1, &seven_bits))
      return e;
    length |= static_cast<std::uint32_t>(seven_bits & 0x7f) << shift;
  }
  if (length > remaining())
    return sec::end_of_stream;
  list_size = length;
  return none;
}

} // namespace caf
