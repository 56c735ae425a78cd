#pragma once
// Follows who is in a group, for a server that carries the group's handshakes (RFC 9420, sections
// 6.2, 12.4 and 16.4).
//
//   begin(group_info, tree) ──► follower
//   propose(message) ──► kept for the commits of this epoch
//   check(message) ──► followed_commit: would it be the next?  Nothing changes.
//   apply(followed_commit) ──► the next epoch, if none began in between: compare and swap
//
// A server that orders commits calls `check`, lets its log decide, and calls `apply` for the commits
// that the log accepted. Of two commits of one epoch the second is refused. Replicas that check commits
// independently must all pass the same `surroundings::now`, because leaves and credentials expire.
//
// The follower checks the following in the same way as members do: sender and signature, the epoch, the
// list of proposals and each proposal in it, the new leaf and its owner (the policy decides), the shape
// of the path, its keys and its parent hashes, and that each commit builds on the one before (the
// transcript is part of the signed content).
//
// Without the group's secrets the follower cannot check:
//   - the membership tag. A party that has a member's signature key could send messages here without
//     being in the group.
//   - the confirmation tag, the path secrets and to whom they are encrypted, the key of an external join,
//     and pre-shared keys. So a member can create a commit that the follower accepts and that some or all
//     of the other members refuse. Those members then wait for a commit that the follower no longer
//     accepts. The application has to detect this (no member confirms the epoch) and begin again from a
//     GroupInfo.
//   - handshakes sent as PrivateMessages. They are refused: a group is followed as a whole or not at all.
// A follower, like a joiner, relies on one member for the GroupInfo that it begins with. A false
// GroupInfo with a valid signature leads to a follower that accepts no commits from the real members.
//
// Owner and thread: the caller's, one call at a time. `check` modifies the tree too and restores it. A
// refused message changes nothing.
// that is refused changes nothing.
#include "protocol/mls/epoch.hpp"
#include "protocol/mls/message.hpp"

namespace parley::mls {

/// A commit that would begin the next epoch. It is move-only, and valid only for the follower and the
/// epoch that it was checked in.
class followed_commit {
public:
  std::uint64_t epoch() const { return context_.epoch; } ///< the epoch that the commit would begin
  const commit_effects& effects() const { return effects_; }

private:
  friend class follower;
  commit_effects effects_;
  tree_changes tree_;
  group_context context_;
  bytes encoded_context_, confirmation_tag_;
};

struct follower_settings {
  mls_limits limits;
  std::size_t proposals_max = 1'000; ///< kept in an epoch
};

class follower {
public:
  /// Begins at any epoch, with the creator's GroupInfo of epoch 0 or with any member's. The tree is
  /// checked as a joiner would check it. `tree` is given when it is not inside the GroupInfo.
  static result<follower> begin(bytes_view group_info, std::optional<bytes_view> tree, const surroundings& s,
                                const follower_settings& settings = {});

  // --- state
  bytes_view id() const { return now_.context.group_id; }
  std::uint64_t epoch() const { return now_.context.epoch; }
  bool is_over() const { return is_over_; } ///< the group was re-initialized as another group
  const extension_list& extensions() const { return now_.context.extensions; }
  std::size_t member_count() const { return now_.tree.member_count(); }
  std::vector<member> roster() const { return now_.members(); }
  std::size_t proposal_count() const { return now_.proposals.size(); }
  bytes ratchet_tree() const { return now_.tree.encoded(); }

  // --- handshakes, as encoded MLSMessages
  /// Stores the proposal if some commit could cover it.
  result<proposal_ref> propose(bytes_view message, const surroundings& s);
  result<followed_commit> check(bytes_view message, const surroundings& s);
  /// Refuses a commit that was checked in an epoch other than the current one.
  result<commit_effects> apply(followed_commit next);

private:
  follower(public_epoch now, const follower_settings& settings) : now_{std::move(now)}, settings_{settings} {}
  result<authenticated_content> open(bytes_view message) const;

  public_epoch now_;
  follower_settings settings_;
  bool is_over_ = false;
};

} // namespace parley::mls
