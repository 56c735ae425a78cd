#pragma once
// The application's interface to MLS (RFC 9420): key packages, groups, proposals, commits, welcomes.
//
//   make_key_package ──► published              group::create ───┐
//   group::join(welcome) ────────────────────────────────────────┼──► group
//   join_externally(group_info) ──► commit, and the new group ───┘
//
//   commit ──► made_commit: what to send, and the pending_commit
//   receive ──► an application message, a proposal, or the pending_commit of another member
//   confirm(pending_commit) ──► the next epoch.  If the value is dropped instead, the old epoch continues.
//
// Messages are passed in and out as encoded MLSMessages. Handshakes are sent as PublicMessages, so that
// a server can follow who is in the group (follower.hpp). Application messages are PrivateMessages,
// padded to size classes.
//
// Owner and thread: the caller's, one call at a time. Time, randomness, the policy and external keys
// are passed to each call (`surroundings`). The group writes nothing to disk: group_store.hpp stores
// what changed, in the caller's transaction. An error is a `rule` with its section of the RFC. A
// refused message changes nothing.
#include "protocol/mls/epoch.hpp"
#include "protocol/mls/message.hpp"

#include <memory>

namespace parley::mls {

struct group_state;

/// One device: its signature key, and what each of its leaves states about it. Leaves list the types of their
/// extensions by themselves, and leave out default types (7.2).
struct client_identity {
  signature_key_pair signer;
  mls::credential credential;
  mls::capabilities capabilities = own_capabilities();
  extension_list leaf_extensions;
  client_identity copy() const;
};

/// A key package and its private keys. It may be used for one Welcome, unless it is the
/// package of last resort.
struct own_key_package {
  key_package package;
  hpke_key_pair init_key, leaf_key;
};
own_key_package make_key_package(const client_identity& who, const lifetime& valid,
                                 const random_source& random);

struct group_settings {
  mls_limits limits;
  padding pad = padding::size_classes;
  /// The number of epochs before the current one whose application messages can still be decrypted and
  /// whose resumption keys are kept.
  std::size_t past_epochs_max = 3;
  std::size_t proposals_max = 1'000; ///< kept in an epoch
};

/// Where a joiner finds the ratchet tree: inside the GroupInfo, which costs about 190 bytes for each
/// member in each Welcome, or apart from it.
enum class tree_delivery : std::uint8_t { in_group_info, apart };

struct commit_options {
  std::vector<proposal> proposals; ///< our own, included by value
  /// Also covers the proposals that others sent in this epoch, as far as they are valid together and
  /// every member can hold the pre-shared keys that they name.
  bool cover_received = true;
  bool always_path = true; ///< also when section 12.4 allows a commit without a path
  tree_delivery tree = tree_delivery::apart;
  bytes authenticated_data;
};

/// An epoch that has not begun yet. It is move-only, and valid only for the group and the epoch that
/// it was created from.
class pending_commit {
public:
  std::uint64_t epoch() const { return context_.epoch; } ///< the epoch that it would begin
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
  bytes after_; ///< the interim transcript hash of the epoch that it was created from
  epoch_secrets secrets_;
  private_tree keys_;
  std::optional<pending_key> sealed_with_; ///< key of the commit, if it was a PrivateMessage
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
      welcomes; ///< one for each added member, in the order of the Adds, with the secrets of that member only
  bytes group_info;   ///< of the next epoch, for clients that join by an external commit
  bytes ratchet_tree; ///< of the next epoch; empty when it is inside the GroupInfo
  pending_commit pending;
};

class group {
public:
  group(group&&) noexcept;
  group& operator=(group&&) noexcept;
  ~group();

  /// 11: creates a group of one member, in epoch 0.
  static result<group> create(bytes group_id, client_identity who, extension_list extensions,
                              const surroundings& s, const group_settings& settings = {});
  /// 12.4.3.1. `tree` is given when it is not inside the GroupInfo. `is_known` returns whether this
  /// client is already in a group with that id.
  static result<group> join(bytes_view welcome, const own_key_package& package, client_identity who,
                            std::optional<bytes_view> tree, const surroundings& s,
                            const std::function<bool(bytes_view group_id)>& is_known,
                            const group_settings& settings = {});

  // --- state
  bytes_view id() const;
  std::uint64_t epoch() const;
  leaf_index own_leaf() const;
  bool is_over() const; ///< this client was removed, or the group was re-initialized: only old
                        ///< messages can be read
  const extension_list& extensions() const;
  std::size_t member_count() const;
  std::vector<member> members() const;
  bytes_view epoch_authenticator() const;                                                           ///< 8.7
  result<secret> export_secret(std::string_view label, bytes_view context, std::size_t size) const; ///< 8.5
  bytes ratchet_tree() const;
  /// Returns a signed GroupInfo with the external key, so that a new member can join by an external commit.
  result<bytes> group_info(tree_delivery tree) const;

  // --- sending
  /// The message key is used up when this returns: save the group before sending the message.
  result<bytes> send(bytes_view data, bytes_view authenticated_data, const surroundings& s);
  /// Refuses a proposal that no commit could cover alone. A proposal that needs others must be
  /// committed together with them, by value.
  result<bytes> propose(const proposal& p, const surroundings& s);
  /// Proposes an Update of the own leaf. The new private key is kept until a member commits the proposal.
  result<bytes> propose_update(const surroundings& s);
  result<made_commit> commit(const commit_options& options, const surroundings& s);
  result<void> confirm(pending_commit pending);
  /// Sets the credential for the next leaf: a newer statement for the same signature key.
  void use_credential(credential newer);

  // --- receiving
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

/// 12.4.3.2. `group` is already in the new epoch: keep it when the server accepts the
/// commit, otherwise drop it.
struct external_join {
  bytes commit;
  mls::group group;
};
/// `replaces` is the leaf of an earlier membership of this client (resync). `is_known` has the same
/// meaning as for a Welcome; it is not called when `replaces` is set.
result<external_join> join_externally(bytes_view group_info, std::optional<bytes_view> tree,
                                      client_identity who, std::optional<leaf_index> replaces,
                                      const surroundings& s, const group_settings& settings = {},
                                      const std::function<bool(bytes_view group_id)>& is_known = {});

} // namespace parley::mls
