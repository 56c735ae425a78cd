#pragma once
// Limits on what a group accepts from others. RFC 9420 asks implementations for some of them (section
// 15.3); the rest keep memory and time bounded.
#include <cstddef>
#include <cstdint>

namespace parley::mls {

/// A group's extensions are part of what is signed and hashed for each message.
inline constexpr std::size_t group_extensions_bytes_max = 64u << 10;
/// For a proposal that waits for a commit. The largest valid proposals carry extensions
/// or a key package.
inline constexpr std::size_t proposal_bytes_max = 96u << 10;
inline constexpr std::size_t path_nodes_max = 32; ///< a leaf index has 32 bits

struct mls_limits {
  /// How many generations a message may be ahead of its sender's last one. Each generation costs
  /// about half a microsecond.
  std::uint32_t generation_jump_max = 1000;
  /// Keys of skipped messages that are kept for each ratchet; the oldest are dropped. With 32 keys,
  /// saving everything that one message changes takes less than 2 KiB, even for the first message of
  /// its sender in the largest tree.
  std::uint32_t skipped_keys_max = 32;
  /// Applies to an encoded message, Welcome or GroupInfo as it is received.
  std::size_t message_bytes_max = 16u << 20;
};

} // namespace parley::mls
