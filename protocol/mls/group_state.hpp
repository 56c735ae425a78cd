#pragma once
// The state of a group. Only the group*.cpp files include this.
#include "protocol/mls/group.hpp"

#include <map>

namespace parley::mls {

/// A past epoch whose application messages may still arrive.
struct past_epoch {
  group_context context;
  bytes encoded_context;
  secret sender_data, resumption_psk;
  secret_tree keys;
  /// Leaves that have changed since, with the signature key that each had in that epoch.
  std::map<leaf_index, std::optional<public_key>> signers_then;
  bool is_changed = true; ///< changed since it was last saved; `keys` records its own changes
};

/// An Update of our own that was proposed in this epoch.
struct own_update {
  proposal_ref ref;
  hpke_key_pair key;
};

/// What is to be committed, by which sender, and the data that is sent with it.
struct commit_order {
  std::span<const sent_proposal> list;
  sender by;
  bool always_path = true;
  tree_delivery tree = tree_delivery::apart;
  bytes authenticated_data;
};

/// An authenticated handshake, and the key to delete once it was accepted. There is no key if the
/// handshake arrived as a PublicMessage.
struct opened_handshake {
  authenticated_content content;
  std::optional<pending_key> key;
};

struct group_state {
  group_state(client_identity who, group_settings how) : identity{std::move(who)}, settings{std::move(how)} {}

  client_identity identity;
  group_settings settings;
  public_epoch now;
  epoch_secrets secrets;
  std::optional<secret_tree> keys; ///< empty during and after the end of the group, when nothing can be sent
  private_tree private_keys;
  std::map<std::uint64_t, past_epoch> past;
  std::vector<own_update> own_updates;
  bool over = false;

  // State that group_store.cpp still has to write.
  bool is_new = true;
  std::vector<node_index> changed_nodes;
  std::vector<std::uint64_t> ended_epochs;
  std::uint64_t saved_epoch = 0;
  std::size_t saved_proposals = 0, saved_updates = 0; ///< of this epoch
  tree_digest saved_sum{};                            ///< of all stored parts
  bool save_failed = false; ///< a save failed, so it is no longer known which parts have to be written

  leaf_index self() const { return private_keys.self; }
  sender as_sender() const { return sender::member(self()); }

  /// Our leaf without its key, source and signature.
  leaf_node leaf_content() const;
  /// Creates a GroupInfo for an epoch whose tree is in place: the current one, or the one that a commit
  /// is about to begin.
  mls::group_info signed_group_info(const group_context& context, const epoch_secrets& of,
                                    bytes confirmation_tag, leaf_index signer, tree_delivery tree) const;

  /// Computes the PSK secret of a list of ids, with keys from our past epochs and from the caller.
  result<secret> psk_secret_of(const std::vector<pre_shared_key_id>& ids, const surroundings& s) const;

  /// The list that our commit covers: the proposals in `options` and those that others sent, without
  /// those that would be refused.
  std::vector<sent_proposal> covered(const commit_options& options, const surroundings& s) const;

  bool is_held_by_all(const pre_shared_key_id& id, std::span<const sent_proposal> list,
                      const surroundings& s) const;

  result<opened_handshake> open(const mls_message& message);
  result<application_message> open_application(const private_message& message);
  result<pending_commit> process(const authenticated_content& content, const surroundings& s);
  /// The second half of processing, while the tree is changing: the part that only members can compute.
  result<pending_commit> process_secrets(const authenticated_content& content, staged_epoch& staged,
                                         const surroundings& s);
  result<made_commit> make_commit(const commit_options& options, const surroundings& s);
  result<made_commit> build_commit(const commit_order& order, const secret& init_secret,
                                   const surroundings& s);
  void confirm(pending_commit pending);
  void end_epoch();
  secret encoded_pending(const pending_commit& pending) const;
  result<pending_commit> decoded_pending(bytes_view in);
};

} // namespace parley::mls
