#pragma once
// The keys of single messages (RFC 9420, section 9): a tree of secrets over the leaves, and for each
// leaf that was used two ratchets, one for handshakes and one for application messages.
//
// Every secret is derived when it is first needed, and the secret that it was derived from is wiped at that
// moment (9.2). So a new epoch costs one secret, the first message of a leaf adds about log2(n) nodes, and
// only changes have to be saved: one node or ratchet at a time, each less than 2 KiB with the default limits.
#include "protocol/mls/crypto.hpp"
#include "protocol/mls/leaf_node.hpp"
#include "protocol/mls/limits.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace parley::mls {

/// A secret of N bytes stored in place, for secrets that exist by the thousand.
template <std::size_t N>
class secret_array {
public:
  secret_array() = default;
  explicit secret_array(const secret& from) : secret_array(from.view()) {}
  explicit secret_array(bytes_view from) {
    std::copy_n(from.begin(), std::min(N, from.size()), bytes_.begin());
  }
  ~secret_array() { wipe(bytes_.data(), N); }
  secret_array(secret_array&& other) noexcept { *this = std::move(other); }
  secret_array& operator=(secret_array&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      wipe(other.bytes_.data(), N);
    }
    return *this;
  }
  secret_array(const secret_array&) = delete;
  secret_array& operator=(const secret_array&) = delete;
  bytes_view view() const { return bytes_; }

private:
  std::array<std::uint8_t, N> bytes_{};
};

enum class ratchet_kind : std::uint8_t { handshake = 0, application = 1 };

struct message_key {
  std::uint32_t generation = 0;
  secret_array<key_bytes> key;
  secret_array<nonce_bytes> nonce;
};

/// What is needed to open a message, and the new state of the ratchet if it opens.
struct pending_key {
  leaf_index leaf{};
  ratchet_kind kind{};
  message_key key;
  /// The secret after the key; empty if the key belongs to a message that had been skipped.
  std::optional<secret_array<hash_bytes>> next_secret;
  std::vector<message_key> jumped_over;
};

/// Identifies a part that is saved separately.
struct secret_tree_part {
  enum class what : std::uint8_t { node = 0, ratchet = 1 };
  what is = what::node;
  std::uint32_t index = 0; ///< of the node in the array of nodes, or twice the leaf plus its ratchet_kind
  auto operator<=>(const secret_tree_part&) const = default;
};

/// Owns:   the unused secrets of one epoch.
/// Thread: its owner's.
/// Holds:  a key that `next` has returned, or that was consumed, can no longer be derived from what is here.
class secret_tree {
public:
  /// `leaf_count` is the size of the ratchet tree including blanks; it is rounded up to a power of two.
  secret_tree(secret encryption_secret, std::uint32_t leaf_count, const mls_limits& limits = {});
  /// Creates an empty tree that is filled by `restore`.
  static secret_tree restored(std::uint32_t leaf_count, const mls_limits& limits = {});

  /// Returns the next unused key for sending and deletes it here: save before sending.
  result<message_key> next(leaf_index leaf, ratchet_kind kind);
  /// Returns the key of a received message. Only node splits are kept: a message that does not open
  /// must not affect messages that do.
  result<pending_key> find(leaf_index leaf, ratchet_kind kind, std::uint32_t generation);
  /// Call this when the message was opened and its sender was verified: advances the ratchet and
  /// deletes the key. A key that was looked up before the ratchet advanced is only deleted.
  void consume(pending_key&& used);

  /// Returns the parts that changed since the last call; the first call returns all.
  std::vector<secret_tree_part> take_changes();
  /// Returns an empty optional if the part is to be deleted.
  std::optional<secret> saved(const secret_tree_part& part) const;
  result<void> restore(const secret_tree_part& part, bytes_view in);

  std::uint32_t leaf_count() const { return leaf_count_; }
  std::size_t part_count() const { return nodes_.size() + ratchet_count_; }

private:
  struct ratchet {
    std::uint32_t generation = 0; ///< of the next key
    secret_array<hash_bytes> secret;
  };
  /// The ratchets of eight leaves, stored together: single allocations would cost as much again in pointers.
  struct ratchet_page {
    std::array<ratchet, 16> ratchets;
    std::uint16_t there = 0; ///< one bit for each ratchet
  };

  explicit secret_tree(std::uint32_t leaf_count, const mls_limits& limits);
  const ratchet* find_ratchet(std::uint32_t index) const;
  ratchet* find_ratchet(std::uint32_t index);
  ratchet& make_ratchet(std::uint32_t index);
  result<ratchet*> ratchet_of(leaf_index leaf, ratchet_kind kind);
  bool split_down_to(std::uint32_t leaf_node);
  void changed(secret_tree_part::what what, std::uint32_t index);

  std::uint32_t leaf_count_;
  mls_limits limits_;
  std::map<std::uint32_t, secret_array<hash_bytes>> nodes_;
  std::map<std::uint32_t, ratchet_page> pages_;
  std::size_t ratchet_count_ = 0;
  /// For each ratchet that has some: the keys of skipped messages, in ascending order.
  std::map<std::uint32_t, std::vector<message_key>> skipped_;
  std::set<secret_tree_part> changes_;
};

} // namespace parley::mls
