#pragma once
// Who is in a group, for a server that carries its handshakes (RFC 9420, sections 6.2, 12.4 and 16.4).
//
//   begin(group_info, tree) ──► follower
//   propose(message) ──► kept for the commits of this epoch
//   check(message) ──► followed_commit: would it be the next?  Nothing changes.
//   apply(followed_commit) ──► the next epoch, if none began in between: compare and swap
//
// A server that places commits calls `check`, lets its log decide, and `apply`s what was placed: of two
// commits of one epoch the second is refused. Replicas that check for themselves must all pass the same
// `surroundings::now`, for leaves and credentials expire.
//
// Checked, as members check it: sender and signature, epoch, the list of proposals and each of them, the new
// leaf and whose it is (the policy's word), the shape of the path, its keys and parent hashes, and that one
// commit builds on the other (the transcript is in what is signed).
//
// What somebody without the group's secrets cannot see:
//   - the membership tag. Whoever has a member's signature key could speak here without being in the group.
//   - the confirmation tag, the path secrets and what is encrypted to whom, the key of an external join, and
//     pre-shared keys. So a member can make a commit that is accepted here and that the others, or some of
//     them, refuse. They then wait for a commit that this follower no longer takes: the application has to
//     notice (nobody confirms the epoch) and begin again from a GroupInfo.
//   - handshakes as PrivateMessages. They are refused: a group is followed as a whole or not at all.
// Like a GroupInfo to a joiner, the one that a follower begins with is one member's word: a false one, with
// the right signature, leads to a follower that takes nobody else's commits.
//
// Owner and thread: the caller's, one at a time; `check` too works on the tree and puts it back. A message
// that is refused changes nothing.
#include "protocol/mls/epoch.hpp"
#include "protocol/mls/message.hpp"

namespace parley::mls {

/// A commit that would be the next. Move-only; fits the follower and the epoch that it was checked in.
class followed_commit {
public:
  std::uint64_t epoch() const { return context_.epoch; } ///< that it would begin
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
  /// Of any epoch: the creator's of epoch 0, or a member's. The tree is looked at as a joiner would.
  /// `tree`: where it is not in the GroupInfo.
  static result<follower> begin(bytes_view group_info, std::optional<bytes_view> tree, const surroundings& s,
                                const follower_settings& settings = {});

  // --- what is so
  bytes_view id() const { return now_.context.group_id; }
  std::uint64_t epoch() const { return now_.context.epoch; }
  bool is_over() const { return is_over_; } ///< begun anew elsewhere
  const extension_list& extensions() const { return now_.context.extensions; }
  std::size_t member_count() const { return now_.tree.member_count(); }
  std::vector<member> roster() const { return now_.members(); }
  std::size_t proposal_count() const { return now_.proposals.size(); }
  bytes ratchet_tree() const { return now_.tree.encoded(); }

  // --- handshakes, as encoded MLSMessages
  /// Keeps the proposal if some commit could cover it.
  result<proposal_ref> propose(bytes_view message, const surroundings& s);
  result<followed_commit> check(bytes_view message, const surroundings& s);
  /// Refuses a commit that was checked in another epoch than the one that is now.
  result<commit_effects> apply(followed_commit next);

private:
  follower(public_epoch now, const follower_settings& settings) : now_{std::move(now)}, settings_{settings} {}
  result<authenticated_content> open(bytes_view message) const;

  public_epoch now_;
  follower_settings settings_;
  bool is_over_ = false;
};

} // namespace parley::mls
