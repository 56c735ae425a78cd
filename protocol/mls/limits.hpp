#pragma once
// What a group takes from others before it refuses: limits of ours, which the RFC asks for (15.3) or which
// keep memory and time bounded.
#include <cstddef>
#include <cstdint>

namespace parley::mls {

/// The extensions of a group are part of what is signed and hashed of each message.
inline constexpr std::size_t group_extensions_bytes_max = 64u << 10;
/// Of a proposal that waits for a commit: the largest that can be valid bring extensions or a key package.
inline constexpr std::size_t proposal_bytes_max = 96u << 10;
inline constexpr std::size_t path_nodes_max = 32; ///< a leaf's index has as many bits

struct mls_limits {
  /// How many generations a message may be ahead of its sender's last. Each costs about half a microsecond.
  std::uint32_t generation_jump_max = 1000;
  /// Keys of messages that were jumped over, kept for each ratchet; the oldest give way. With 32, all that a
  /// message changes is saved in less than 2 KiB, the first of its sender in the largest tree, too.
  std::uint32_t skipped_keys_max = 32;
  /// A message, a Welcome or a GroupInfo, as it comes.
  std::size_t message_bytes_max = 16u << 20;
};

} // namespace parley::mls
