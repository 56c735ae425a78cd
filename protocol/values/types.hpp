#pragma once
// The words of Parley as values: a type for each thing, standard library only, so that clients drag nothing
// in.
#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace parley {

enum class user_id : std::uint64_t {};
enum class device_id : std::uint64_t {};
/// One `parleyd`. Chosen by the operator, stated in the node's certificate; 1-based.
enum class node_id : std::uint64_t { none = 0 };
/// Identity of one data directory, random: a node that lost its disk comes back with another one.
enum class disk_id : std::uint64_t { none = 0 };
/// One Raft group's slice of conversations and users.
enum class shard_id : std::uint16_t {};
/// Which life of a shard: a seal ends one and names the next. 1-based.
enum class generation : std::uint32_t { none = 0 };

/// Names a cluster for ever: random, chosen when it is formed.
struct cluster_id {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;
  auto operator<=>(const cluster_id&) const = default;
  bool is_set() const { return hi != 0 || lo != 0; }
};

/// 128 bits: names derived from two users must not meet by chance.
struct conversation_id {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;
  auto operator<=>(const conversation_id&) const = default;
};

/// Position of a message in its conversation. 1-based; `none` means "before the first".
enum class seq_no : std::uint64_t { none = 0 };

constexpr seq_no next(seq_no n) {
  return seq_no{static_cast<std::uint64_t>(n) + 1};
}

/// Names one stored message, for ever. Derived from its conversation and seq, so every replica agrees.
struct message_id {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;
  auto operator<=>(const message_id&) const = default;
};

/// Chosen by the client, once per message: what makes a retry a retry.
struct client_msg_id {
  device_id device{};
  std::uint64_t counter = 0; ///< only rises, per device; 1-based
  auto operator<=>(const client_msg_id&) const = default;
};

/// Of the Ed25519 signature with which a device proves at login that it has its key.
inline constexpr std::size_t login_signature_bytes = 64;

/// SHA-256 of a body: what tells a retry from a conflict.
using body_hash = std::array<std::uint8_t, 32>;

/// Milliseconds since 1970 UTC. Shown to people; messages are never ordered by it.
enum class unix_ms : std::int64_t { none = 0 };

/// Which of a device's connections is the newest: chosen by the device, higher with every login or resume.
/// `none` is nobody's.
enum class session_number : std::uint64_t { none = 0 };

/// Position in one user's inbox. 1-based; `none` means "before the first".
enum class inbox_pos : std::uint64_t { none = 0 };

constexpr std::uint64_t number(auto e) requires std::is_enum_v<decltype(e)> {
  return static_cast<std::uint64_t>(e);
}

/// A finaliser with full avalanche (Stafford's variant 13 of MurmurHash3's): the shard hash. Never change
/// it.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

/// The shard a conversation, user or phone belongs to, unless that shard's record says that it moved.
constexpr shard_id home_shard(std::uint64_t hash, std::uint16_t shards) {
  return shard_id{static_cast<std::uint16_t>(hash % shards)};
}
constexpr shard_id home_shard(conversation_id id, std::uint16_t shards) {
  return home_shard(mix64(id.lo ^ mix64(id.hi)), shards);
}
constexpr shard_id home_shard(user_id id, std::uint16_t shards) {
  return home_shard(mix64(number(id)), shards);
}

/// Injective in `seq` for one conversation; apart from those of others with 128 bits of mixing.
constexpr message_id derive_message_id(conversation_id c, seq_no seq) {
  const auto lo = mix64(c.lo + number(seq) * 0x9e3779b97f4a7c15ULL);
  return {mix64(c.hi ^ lo), lo};
}

} // namespace parley

template <>
struct std::hash<parley::conversation_id> {
  std::size_t operator()(const parley::conversation_id& id) const noexcept {
    return parley::mix64(id.lo ^ parley::mix64(id.hi));
  }
};
template <>
struct std::hash<parley::client_msg_id> {
  std::size_t operator()(const parley::client_msg_id& id) const noexcept {
    return parley::mix64(parley::number(id.device) ^ parley::mix64(id.counter));
  }
};
