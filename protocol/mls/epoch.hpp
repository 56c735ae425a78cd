#pragma once
// The public side of a group's epoch, and how a commit leads to the next one. Members and servers both
// compute this (RFC 9420, sections 8.1, 8.2, 12.3 and 12.4).
#include "protocol/mls/proposal_rules.hpp"
#include "protocol/mls/protection.hpp"
#include "protocol/mls/tree_kem.hpp"
#include "protocol/mls/welcome.hpp"

namespace parley::mls {

/// What the engine asks its caller to decide or to provide. Must outlive the call.
struct surroundings {
  const credential_policy& policy;
  const random_source& random;
  /// Seconds since the Unix epoch. For received messages this is the time at which the message was
  /// placed in the order that all members agree on, not the time at which it is read. Otherwise a
  /// member who returns after some time would refuse what all others accepted.
  std::uint64_t now = 0;
  /// Looks up external pre-shared keys and those of other groups. Null means that there are none.
  std::function<std::optional<secret>(const pre_shared_key_id&)> find_psk;
  std::uint64_t lifetime_max = lifetime_seconds_max; ///< of key packages (7.2)
};

/// Rolls the tree back when it is destroyed, unless `settled` was called.
class changing_tree {
public:
  enum class from { here, already };
  explicit changing_tree(ratchet_tree& tree, from begun = from::here) : tree_{tree} {
    if (begun == from::here)
      tree.begin();
  }
  ~changing_tree() {
    if (!is_settled_)
      tree_.roll_back();
  }
  changing_tree(const changing_tree&) = delete;
  changing_tree& operator=(const changing_tree&) = delete;
  void settled() { is_settled_ = true; } ///< the changes were kept or taken, or the caller will finish them

private:
  ratchet_tree& tree_;
  bool is_settled_ = false;
};

struct received_proposal {
  proposal_ref ref;
  sender from;
  mls::proposal proposal;
  bool stands_alone = true; ///< false: it can only be committed beside other proposals
};

struct member {
  leaf_index leaf{};
  public_key signature_key{};
  mls::credential credential;
  friend bool operator==(const member&, const member&) = default;
};

struct public_epoch {
  group_context context;
  bytes encoded_context; ///< the encoded `context`
  bytes interim_hash;
  ratchet_tree tree;
  std::vector<received_proposal> proposals; ///< of this epoch, in the order of arrival
  std::vector<public_key> external_keys;    ///< of the external senders

  epoch_view view() const; ///< borrows from this object
  std::vector<member> members() const;
  /// Moves to the epoch of `next`, whose tree must already be in place.
  result<void> enter(group_context next, bytes encoded, bytes_view confirmation_tag);
  /// Looks up the proposals of a commit. Those by reference point into `proposals`, the
  /// others into the commit.
  result<std::vector<sent_proposal>> resolve(const commit& c, const sender& committer) const;
  /// Stores an authenticated proposal if a commit could cover it: alone, or, for proposals of
  /// others, together with more.
  enum class whose { ours, others };
  result<proposal_ref> take_proposal(const authenticated_content& content, const surroundings& s,
                                     std::size_t proposals_max, whose = whose::others);
  /// 12.4: a member who knows of a valid proposal must commit before it sends anything else.
  bool wants_commit() const;

private:
  result<void> check_alone(const sent_proposal& p, const surroundings& s);
};

/// 12.4.3: checks the GroupInfo's signature, its tree (in `apart` if it is not inside the GroupInfo),
/// and that the two belong together.
result<ratchet_tree> checked_tree(const group_info& info, const std::optional<bytes_view>& apart,
                                  const surroundings& s);

/// What a commit changes, for callers that display or enforce who is in a group.
struct commit_effects {
  leaf_index committer{}; ///< in the new epoch
  bool is_external = false;
  std::vector<leaf_index> added, removed, updated;
  bool changes_extensions = false;
  std::optional<reinit_proposal> reinit;
};

/// A commit that has been applied to the tree. The tree stays in the changing state until the caller
/// keeps, takes or rolls back.
struct staged_epoch {
  commit_effects effects;
  group_context context;              ///< of the next epoch
  bytes encoded_context;              ///< the encoded `context`
  bytes provisional_context;          ///< encoded; the context that path secrets are encrypted with (12.4.1)
  std::vector<leaf_index> new_leaves; ///< sorted; new members, who learn the path secret from a Welcome
  std::vector<pre_shared_key_id> psks;
  std::optional<bytes> kem_output; ///< set for an external commit
};

/// The proposal list of a commit after it was applied to the tree. The tree is changing, and the leaf
/// of the path may be set next. This is the first half of both creating and processing a commit.
struct applied_list {
  proposal_plan plan;
  leaf_index committer{};
  std::vector<leaf_index> added; ///< in the order of the list
  staged_epoch staged;           ///< all but the contexts
};
result<applied_list> apply_list(public_epoch& epoch, std::span<const sent_proposal> list,
                                const sender& committer, const surroundings& s);

/// The extensions of the group after the list has been applied.
const extension_list& extensions_after(const public_epoch& epoch, const proposal_plan& plan);

/// The leaf that the leaf of a path replaces: the committer's, or the one that an external commit
/// removes. Must be called before the list is applied.
std::optional<leaf_node> replaced_leaf(const ratchet_tree& tree, std::span<const sent_proposal> list,
                                       const sender& committer);
/// 7.3, 5.3.1 and 12.4.2: the sender of a path checks its leaf by the same rules as its receivers. The
/// receivers also check the signature and that the key is new.
result<void> check_path_leaf(const public_epoch& epoch, const applied_list& list,
                             const std::optional<leaf_node>& before, const leaf_node& leaf,
                             const surroundings& s);

/// 12.4.1: the context with the new tree hash and the old transcript hash.
group_context provisional_context(const public_epoch& epoch, const proposal_plan& plan);

/// Processes the public part of an authenticated commit (12.4.2). On success the tree is changing and
/// holds the next epoch; on refusal it is unchanged.
result<staged_epoch> stage_commit(public_epoch& epoch, const authenticated_content& content,
                                  const surroundings& s);

/// Sets the confirmed transcript hash and the final context; `content` is the signed commit.
void finish_context(staged_epoch& staged, group_context provisional, bytes_view interim_hash,
                    const authenticated_content& content);

} // namespace parley::mls
