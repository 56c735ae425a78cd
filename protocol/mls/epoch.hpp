#pragma once
// The public side of a group's epoch, and how a commit leads to the next: what members and servers compute
// alike (RFC 9420, sections 8.1, 8.2, 12.3 and 12.4).
#include "protocol/mls/proposal_rules.hpp"
#include "protocol/mls/protection.hpp"
#include "protocol/mls/tree_kem.hpp"
#include "protocol/mls/welcome.hpp"

namespace parley::mls {

/// What somebody outside of the engine decides or knows. Lives as long as the call.
struct surroundings {
  const credential_policy& policy;
  const random_source& random;
  /// Seconds since the Unix epoch. For what is received: when it was placed in the order that all agree on,
  /// not when it is read, or whoever comes back after a while refuses what all others took.
  std::uint64_t now = 0;
  /// Pre-shared keys from outside, and those of other groups; null: there are none.
  std::function<std::optional<secret>(const pre_shared_key_id&)> find_psk;
  std::uint64_t lifetime_max = lifetime_seconds_max; ///< of key packages (7.2)
};

/// A tree that goes back to what it was unless somebody says that it shall stay.
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
  void settled() { is_settled_ = true; } ///< kept, taken, or left changing for the caller

private:
  ratchet_tree& tree_;
  bool is_settled_ = false;
};

struct received_proposal {
  proposal_ref ref;
  sender from;
  mls::proposal proposal;
  bool stands_alone = true; ///< else it can only be committed beside others
};

struct member {
  leaf_index leaf{};
  public_key signature_key{};
  mls::credential credential;
  friend bool operator==(const member&, const member&) = default;
};

struct public_epoch {
  group_context context;
  bytes encoded_context; ///< of `context`
  bytes interim_hash;
  ratchet_tree tree;
  std::vector<received_proposal> proposals; ///< of this epoch, in the order in which they came
  std::vector<public_key> external_keys;    ///< of the external senders

  epoch_view view() const; ///< borrows from this
  std::vector<member> members() const;
  /// Goes on to the epoch of `next`, whose tree is in place.
  result<void> enter(group_context next, bytes encoded, bytes_view confirmation_tag);
  /// Those by reference point into `proposals`, the others into the commit.
  result<std::vector<sent_proposal>> resolve(const commit& c, const sender& committer) const;
  /// Keeps a proposal that was authenticated, if it could be committed: alone, or, of others', beside more.
  enum class whose { ours, others };
  result<proposal_ref> take_proposal(const authenticated_content& content, const surroundings& s,
                                     std::size_t proposals_max, whose = whose::others);
  /// 12.4: a member who knows of a valid proposal commits before it says anything.
  bool wants_commit() const;

private:
  result<void> check_alone(const sent_proposal& p, const surroundings& s);
};

/// 12.4.3: the GroupInfo's signature, its tree (`apart`: where it is not inside), and that the one belongs to
/// the other.
result<ratchet_tree> checked_tree(const group_info& info, const std::optional<bytes_view>& apart,
                                  const surroundings& s);

/// What a commit changes, for those who show or enforce who is in a group.
struct commit_effects {
  leaf_index committer{}; ///< in the new epoch
  bool is_external = false;
  std::vector<leaf_index> added, removed, updated;
  bool changes_extensions = false;
  std::optional<reinit_proposal> reinit;
};

/// A commit, applied to the tree, which is changing until the caller keeps, takes or rolls back.
struct staged_epoch {
  commit_effects effects;
  group_context context;              ///< of the next epoch
  bytes encoded_context;              ///< the same
  bytes provisional_context;          ///< encoded; what path secrets are encrypted with (12.4.1)
  std::vector<leaf_index> new_leaves; ///< sorted: those whom a Welcome tells the path secret
  std::vector<pre_shared_key_id> psks;
  std::optional<bytes> kem_output; ///< of an external commit
};

/// The list of a commit on the tree, which has begun to change; then the path's leaf may be set. First half
/// of both making and processing.
struct applied_list {
  proposal_plan plan;
  leaf_index committer{};
  std::vector<leaf_index> added; ///< in the order of the list
  staged_epoch staged;           ///< but for contexts
};
result<applied_list> apply_list(public_epoch& epoch, std::span<const sent_proposal> list,
                                const sender& committer, const surroundings& s);

/// What the group's extensions are once the list holds.
const extension_list& extensions_after(const public_epoch& epoch, const proposal_plan& plan);

/// The leaf that a path's leaf takes the place of, to be asked for before the list is applied: the
/// committer's, or the one that an external commit removes.
std::optional<leaf_node> replaced_leaf(const ratchet_tree& tree, std::span<const sent_proposal> list,
                                       const sender& committer);
/// 7.3, 5.3.1 and 12.4.2: whoever makes a path looks at its leaf as those do who get it. Only they have to
/// look at its signature and whether its key is new.
result<void> check_path_leaf(const public_epoch& epoch, const applied_list& list,
                             const std::optional<leaf_node>& before, const leaf_node& leaf,
                             const surroundings& s);

/// 12.4.1: the context with the new tree hash and the old transcript.
group_context provisional_context(const public_epoch& epoch, const proposal_plan& plan);

/// Processes a commit that was authenticated, as far as it is public (12.4.2). On success the tree is
/// changing and holds the next epoch; on refusal it is what it was.
result<staged_epoch> stage_commit(public_epoch& epoch, const authenticated_content& content,
                                  const surroundings& s);

/// Confirmed transcript and final context; `content` is the signed commit.
void finish_context(staged_epoch& staged, group_context provisional, bytes_view interim_hash,
                    const authenticated_content& content);

} // namespace parley::mls
