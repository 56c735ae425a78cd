#pragma once
// MLS as an application meets it (RFC 9420): key packages, groups, proposals, commits, welcomes.
//
//   make_key_package ──► published              group::create ───┐
//   group::join(welcome) ────────────────────────────────────────┼──► group
//   join_externally(group_info) ──► commit, and the group to be ─┘
//
//   commit ──► made_commit: what to send, and the pending_commit
//   receive ──► an application message, a proposal, or the pending_commit of somebody else
//   confirm(pending_commit) ──► the next epoch.  Dropping the value drops the commit; the old epoch goes on.
//
// Messages go in and out as encoded MLSMessages. Handshakes leave as PublicMessages, so that a server can
// follow who is in the group (follower.hpp); application messages are PrivateMessages, padded to size
// classes.
//
// Owner and thread: the caller's, one at a time. Time, chance, policy and foreign keys come with each call
// (`surroundings`). Nothing is written anywhere: group_store.hpp keeps what changed, in the caller's
// transaction. Errors: a `rule` with its section of the RFC. A message that is refused changes nothing.
#include "protocol/mls/epoch.hpp"
#include "protocol/mls/message.hpp"

#include <memory>

namespace parley::mls {

struct group_state;

/// One device: what it signs with, and what it says of itself in each of its leaves.
struct client_identity {
  signature_key_pair signer;
  mls::credential credential;
  mls::capabilities capabilities = own_capabilities();
  extension_list leaf_extensions;
  client_identity copy() const;
};

/// A key package and its private keys. Good for one Welcome, unless it is the last resort.
struct own_key_package {
  key_package package;
  hpke_key_pair init_key, leaf_key;
};
own_key_package make_key_package(const client_identity& who, const lifetime& valid,
                                 const random_source& random);

struct group_settings {
  mls_limits limits;
  padding pad = padding::size_classes;
  /// Epochs before the current one whose application messages can still be read, and whose resumption keys
  /// are kept.
  std::size_t past_epochs_max = 3;
  std::size_t proposals_max = 1'000; ///< kept in an epoch
};

/// Where a joiner finds the ratchet tree: in the GroupInfo (dear: 190 bytes for each member, in each
/// Welcome), or apart.
enum class tree_delivery : std::uint8_t { in_group_info, apart };

struct commit_options {
  std::vector<proposal> proposals; ///< of ours, by value
  /// And those that others sent in this epoch, as far as they go together and everybody can hold their keys.
  bool cover_received = true;
  bool always_path = true; ///< also where 12.4 would let it be left out
  tree_delivery tree = tree_delivery::apart;
  bytes authenticated_data;
};

/// An epoch that has not begun here. Move-only; fits the group and the epoch that it came from, and no other.
class pending_commit {
public:
  std::uint64_t epoch() const { return context_.epoch; } ///< that it would begin
  const commit_effects& effects() const { return effects_; }
  bool removes_this_member() const { return removes_self_; }
  bytes_view epoch_authenticator() const { return secrets_.epoch_authenticator.view(); }

private:
  friend class group;
  friend struct group_state;
  commit_effects effects_;
  bool removes_self_ = false;
  tree_changes tree_;
  group_context context_;
  bytes encoded_context_, confirmation_tag_;
  bytes after_; ///< the transcript of the epoch that it came from, interim hash
  epoch_secrets secrets_;
  private_tree keys_;
  std::optional<pending_key> sealed_with_; ///< the commit itself, if it came as a PrivateMessage
};

struct application_message {
  leaf_index sender{};
  std::uint64_t epoch = 0;
  bytes authenticated_data;
  secret data;
};
using received_message = std::variant<application_message, proposal_ref, pending_commit>;

struct made_commit {
  bytes commit;
  std::vector<bytes>
      welcomes;       ///< one for each who is added, in the order of the Adds: its own secrets, no others'
  bytes group_info;   ///< of the next epoch, for those who join by themselves
  bytes ratchet_tree; ///< of the next epoch; empty when it is in the GroupInfo
  pending_commit pending;
};

class group {
public:
  group(group&&) noexcept;
  group& operator=(group&&) noexcept;
  ~group();

  /// 11. Alone, in epoch 0.
  static result<group> create(bytes group_id, client_identity who, extension_list extensions,
                              const surroundings& s, const group_settings& settings = {});
  /// 12.4.3.1. `tree`: where it is not in the GroupInfo. `is_known`: is this client in a group of that name
  /// already?
  static result<group> join(bytes_view welcome, const own_key_package& package, client_identity who,
                            std::optional<bytes_view> tree, const surroundings& s,
                            const std::function<bool(bytes_view group_id)>& is_known,
                            const group_settings& settings = {});

  // --- what is so
  bytes_view id() const;
  std::uint64_t epoch() const;
  leaf_index own_leaf() const;
  bool is_over() const; ///< removed, or begun anew elsewhere: only old messages can be read
  const extension_list& extensions() const;
  std::size_t member_count() const;
  std::vector<member> members() const;
  bytes_view epoch_authenticator() const;                                                           ///< 8.7
  result<secret> export_secret(std::string_view label, bytes_view context, std::size_t size) const; ///< 8.5
  bytes ratchet_tree() const;
  /// Signed, with the external key, so that somebody may join by a commit of their own.
  result<bytes> group_info(tree_delivery tree) const;

  // --- saying
  /// The key is used up when this returns: save the group before the message leaves.
  result<bytes> send(bytes_view data, bytes_view authenticated_data, const surroundings& s);
  /// Refuses what no commit could cover alone: what needs others goes into a commit with them, by value.
  result<bytes> propose(const proposal& p, const surroundings& s);
  /// An Update of the own leaf; its key waits here for whoever commits it.
  result<bytes> propose_update(const surroundings& s);
  result<made_commit> commit(const commit_options& options, const surroundings& s);
  result<void> confirm(pending_commit pending);
  /// For the next leaf: the same signature key, under a newer statement.
  void use_credential(credential newer);

  // --- hearing
  result<received_message> receive(bytes_view message, const surroundings& s);

private:
  friend struct external_join;
  friend result<struct external_join> join_externally(bytes_view, std::optional<bytes_view>, client_identity,
                                                      std::optional<leaf_index>, const surroundings&,
                                                      const group_settings&,
                                                      const std::function<bool(bytes_view)>&);
  friend class group_store;
  explicit group(std::unique_ptr<group_state> state);
  std::unique_ptr<group_state> state_;
};

/// 12.4.3.2. `group` is in the new epoch already: keep it when the commit is accepted, drop it when it is
/// not.
struct external_join {
  bytes commit;
  mls::group group;
};
/// `replaces`: the leaf of an older appearance of this client (resync). `is_known`: as for a Welcome; not
/// asked where there is something to replace.
result<external_join> join_externally(bytes_view group_info, std::optional<bytes_view> tree,
                                      client_identity who, std::optional<leaf_index> replaces,
                                      const surroundings& s, const group_settings& settings = {},
                                      const std::function<bool(bytes_view group_id)>& is_known = {});

} // namespace parley::mls
