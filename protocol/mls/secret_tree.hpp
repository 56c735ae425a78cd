#pragma once
// The keys of single messages (RFC 9420, section 9): a tree of secrets over the leaves, and for each leaf
// that was used two ratchets, one for handshakes and one for application messages.
//
// Everything is derived when it is first needed, and what it was derived from is wiped then (9.2). So a new
// epoch is one secret, a leaf costs about log2(n) nodes more at its first message, and only what changed has
// to be saved: a node or a ratchet at a time, each less than 2 KiB with the default limits.
#include "protocol/mls/crypto.hpp"
#include "protocol/mls/leaf_node.hpp"
#include "protocol/mls/limits.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace parley::mls {

/// So many bytes of a secret, in place: for what exists by the thousand.
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

/// What a message needs to be opened, and what becomes of its ratchet if it opens.
struct pending_key {
  leaf_index leaf{};
  ratchet_kind kind{};
  message_key key;
  /// After the key; nothing where the key is one that had been jumped over.
  std::optional<secret_array<hash_bytes>> next_secret;
  std::vector<message_key> jumped_over;
};

/// Names a part that is saved by itself.
struct secret_tree_part {
  enum class what : std::uint8_t { node = 0, ratchet = 1 };
  what is = what::node;
  std::uint32_t index = 0; ///< of the node in the array of nodes, or twice the leaf plus its ratchet_kind
  auto operator<=>(const secret_tree_part&) const = default;
};

/// Owns:   the unused secrets of one epoch.
/// Thread: its owner's.
/// Holds:  whatever was given out by `next`, or consumed, cannot be derived any more from what is here.
class secret_tree {
public:
  /// `leaf_count` as in the ratchet tree, with blanks; rounded up to a power of two.
  secret_tree(secret encryption_secret, std::uint32_t leaf_count, const mls_limits& limits = {});
  /// To be filled with `restore`.
  static secret_tree restored(std::uint32_t leaf_count, const mls_limits& limits = {});

  /// The next unused key for sending. It is gone from here when it is returned: save before sending.
  result<message_key> next(leaf_index leaf, ratchet_kind kind);
  /// The key of a message that came. Nothing changes but that nodes are split: a message that does not open
  /// must not cost those that will.
  result<pending_key> find(leaf_index leaf, ratchet_kind kind, std::uint32_t generation);
  /// The message was opened and is its sender's: moves the ratchet on and forgets the key. A key that was
  /// looked up before the ratchet moved is only forgotten.
  void consume(pending_key&& used);

  /// The parts that changed since this was last asked; all of them at first.
  std::vector<secret_tree_part> take_changes();
  /// Nothing: the part is to be deleted.
  std::optional<secret> saved(const secret_tree_part& part) const;
  result<void> restore(const secret_tree_part& part, bytes_view in);

  std::uint32_t leaf_count() const { return leaf_count_; }
  std::size_t part_count() const { return nodes_.size() + ratchet_count_; }

private:
  struct ratchet {
    std::uint32_t generation = 0; ///< of the next key
    secret_array<hash_bytes> secret;
  };
  /// The ratchets of eight leaves beside each other: one by one each would cost as much again in pointers.
  struct ratchet_page {
    std::array<ratchet, 16> ratchets;
    std::uint16_t there = 0; ///< a bit for each
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
  /// Of the ratchets that have such: keys of messages that were jumped over, ascending.
  std::map<std::uint32_t, std::vector<message_key>> skipped_;
  std::set<secret_tree_part> changes_;
};

} // namespace parley::mls
