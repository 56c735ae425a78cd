#include "protocol/mls/error.hpp"

namespace parley::mls {

rule_text describe(rule r) {
  switch (r) {
  case rule::none:
    return {"", "Nothing was refused."};
  case rule::malformed:
    return {"2.1", "The bytes are not a valid encoding of the expected structure."};
  case rule::too_large:
    return {"", "The message or structure is larger than this library accepts."};
  case rule::wrong_version:
    return {"6", "The protocol version is not mls10."};
  case rule::wrong_cipher_suite:
    return {"5.1", "The cipher suite is not the one that this library supports."};
  case rule::wrong_group:
    return {"6", "The message belongs to another group."};
  case rule::wrong_epoch:
    return {"12.1", "The message belongs to another epoch."};
  case rule::application_not_encrypted:
    return {"6", "Application data was sent without encryption."};
  case rule::wrong_membership_tag:
    return {"6.2", "The membership tag is not valid."};
  case rule::unknown_sender:
    return {"6.1", "The sender is neither a member nor one of the external senders."};
  case rule::external_not_a_proposal:
    return {"6.1", "An external sender sent something other than a proposal."};
  case rule::external_proposal_type:
    return {"12.1.8", "An external sender may not send proposals of this type."};
  case rule::joiner_not_a_commit:
    return {"6.1", "A client that is joining sent something other than a Commit."};
  case rule::joiner_without_path:
    return {"12.4.3.2",
            "The Commit of a client that is joining has no path, so its signature cannot be verified."};
  case rule::new_member_not_an_add:
    return {"6.1", "A new member proposed something other than its own Add."};
  case rule::padding_not_zero:
    return {"6.3.1", "The padding is not all zero bytes."};
  case rule::sender_not_a_member:
    return {"6.3.2", "Only members can send encrypted messages."};
  case rule::wrong_confirmation_tag:
    return {"6.1", "The confirmation tag is not valid."};
  case rule::confirmation_tag_missing:
    return {"6.1", "A Commit has no confirmation tag, or another kind of message has one."};
  case rule::bad_signature:
    return {"5.1.2", "The signature is not valid."};
  case rule::cannot_open:
    return {"5.1", "The ciphertext cannot be decrypted with this key."};
  case rule::bad_key:
    return {"5.1.1", "A key is not a valid key of this cipher suite."};
  case rule::crypto_failed:
    return {"", "The cryptographic library failed."};
  case rule::generation_used:
    return {"9.2", "The key of this generation was used, or was dropped because too many keys were kept."};
  case rule::generation_too_far:
    return {"15.3", "The generation is too far ahead of the last one that was received."};
  case rule::generations_exhausted:
    return {"9.1", "The ratchet has no unused generation left."};
  case rule::leaf_outside_secret_tree:
    return {"9", "The secret tree has no such leaf."};
  case rule::export_too_long:
    return {"8.5", "More bytes were requested from the exporter than the key derivation can produce."};
  case rule::too_many_psks:
    return {"8.4", "There are more pre-shared keys to combine than the format can count."};
  case rule::psk_nonce_wrong_length:
    return {"12.1.4", "The nonce of a pre-shared key is not as long as a hash."};
  case rule::psk_unknown:
    return {"12.4.3.1", "A pre-shared key that is needed is not available to this member."};
  case rule::psk_usage_not_alone:
    return {"12.4.3.1", "There is more than one resumption key for a re-initialized or branched group."};
  case rule::leaf_bad_signature:
    return {"7.3", "The signature of a leaf is not valid."};
  case rule::duplicate_extension:
    return {"13.4", "A list of extensions contains two extensions of one type."};
  case rule::leaf_wrong_source:
    return {"7.3", "The leaf was created for another purpose: a key package, an Update or a Commit."};
  case rule::leaf_lacks_version:
    return {"7.2", "The leaf does not list mls10 among its supported versions."};
  case rule::leaf_lacks_cipher_suite:
    return {"7.2", "The leaf does not list the cipher suite of the group."};
  case rule::leaf_lacks_own_credential:
    return {"7.2", "The leaf does not list the type of its own credential."};
  case rule::leaf_lacks_own_extension:
    return {"7.3", "The leaf has an extension that it does not list."};
  case rule::leaf_lacks_required_extension:
    return {"7.3", "The leaf does not support an extension that the group requires."};
  case rule::leaf_lacks_required_proposal:
    return {"7.3", "The leaf does not support a proposal that the group requires."};
  case rule::leaf_lacks_required_credential:
    return {"7.3", "The leaf does not support a credential that the group requires."};
  case rule::leaf_lacks_group_extension:
    return {"13.4", "The leaf does not support an extension of the group context."};
  case rule::leaf_not_yet_valid:
    return {"7.3", "The lifetime of the leaf has not begun."};
  case rule::leaf_expired:
    return {"7.3", "The lifetime of the leaf has ended."};
  case rule::leaf_lives_too_long:
    return {"7.2", "The lifetime of the leaf is longer than the accepted maximum."};
  case rule::credential_not_supported_by_all:
    return {"7.3", "A member does not support the type of the credential."};
  case rule::leaf_lacks_credential_in_use:
    return {"7.3", "The leaf does not support the type of a credential that a member uses."};
  case rule::leaf_key_not_fresh:
    return {"7.3", "The encryption key is the same as in the leaf that is being replaced."};
  case rule::duplicate_signature_key:
    return {"7.3", "Two members have the same signature key."};
  case rule::duplicate_encryption_key:
    return {"7.3", "Two members have the same encryption key."};
  case rule::credential_unknown_type:
    return {"5.3", "The credential has a type that is not accepted."};
  case rule::credential_refused:
    return {"5.3.1", "The credential is not accepted for this signature key."};
  case rule::credential_expired:
    return {"5.3.2", "The credential has expired."};
  case rule::credential_unexpected_account:
    return {"5.3.1", "The credential belongs to an account that is not expected in this group."};
  case rule::credential_not_a_successor:
    return {"5.3.1", "The credential is not an accepted successor of the one that it replaces."};
  case rule::tree_blank_at_end:
    return {"12.4.3.3", "The last node of the ratchet tree is blank."};
  case rule::tree_wrong_node_type:
    return {"12.4.3.3", "A leaf is at the position of a parent, or the reverse."};
  case rule::tree_too_large:
    return {"", "The tree has more leaves than this library accepts."};
  case rule::tree_hash_mismatch:
    return {"12.4.3.1", "The hash of the tree is not the one in the group context."};
  case rule::parent_hash_invalid:
    return {"7.9.2", "A parent node cannot be chained back to a leaf by exactly one chain of parent hashes."};
  case rule::unmerged_leaf_not_below:
    return {"12.4.3.1", "An unmerged leaf is blank or not below its node."};
  case rule::unmerged_leaf_missing_between:
    return {"12.4.3.1", "A node between an unmerged leaf and its node does not list that leaf."};
  case rule::unmerged_leaves_not_sorted:
    return {"7.1", "The unmerged leaves of a node are not in increasing order."};
  case rule::duplicate_parent_key:
    return {"12.4.3.1", "The encryption key of a parent node appears in another node."};
  case rule::no_such_leaf:
    return {"12.1.3", "There is no member at this leaf."};
  case rule::path_wrong_length:
    return {"7.6", "The path does not have one node for each node of the filtered direct path."};
  case rule::path_wrong_ciphertexts:
    return {"7.6", "A node of the path does not have a ciphertext for each node of the resolution."};
  case rule::path_key_in_use:
    return {"12.4.2", "A public key of the path appears in the tree, or twice in the path."};
  case rule::path_wrong_parent_hash:
    return {"7.9.2", "The parent hash in the leaf of the path does not match the path."};
  case rule::path_key_mismatch:
    return {"7.5", "A key derived from a path secret is not the one in the path."};
  case rule::path_not_for_us:
    return {"7.5", "No path secret was encrypted to a private key of this member."};
  case rule::path_secret_mismatch:
    return {"12.4.3.1", "A key derived from the path secret of a Welcome is not the one in the tree."};
  case rule::private_key_mismatch:
    return {"7.5", "A private key of this member does not belong to its node."};
  case rule::key_package_wrong_version:
    return {"10.1", "The key package has another version than the group."};
  case rule::key_package_wrong_cipher_suite:
    return {"10.1", "The key package has another cipher suite than the group."};
  case rule::key_package_bad_signature:
    return {"10.1", "The signature of the key package is not valid."};
  case rule::key_package_init_key_reused:
    return {"10.1", "The init key is also the encryption key of the leaf."};
  case rule::welcome_not_for_us:
    return {"12.4.3.1", "The Welcome has no secrets for this key package."};
  case rule::group_info_bad_signature:
    return {"12.4.3", "The signature of the GroupInfo is not valid."};
  case rule::update_not_from_member:
    return {"12.1.8", "An Update was not sent by a member."};
  case rule::update_of_committer:
    return {"12.2",
            "The list contains an Update by the committer, whose leaf is updated by the path instead."};
  case rule::remove_of_committer:
    return {"12.2", "The list removes the committer."};
  case rule::leaf_changed_twice:
    return {"12.2", "Two proposals update or remove the same leaf."};
  case rule::client_added_twice:
    return {"12.2", "Two proposals add the same client."};
  case rule::psk_twice:
    return {"12.2", "Two proposals name the same pre-shared key."};
  case rule::psk_usage_out_of_place:
    return {"12.1.4",
            "A pre-shared key for a re-initialized or branched group is used in an ordinary commit."};
  case rule::reinit_to_older_version:
    return {"12.1.5", "The group would be re-initialized with an older version."};
  case rule::reinit_not_alone:
    return {"12.2", "A ReInit is listed together with other proposals."};
  case rule::external_init_by_member:
    return {"12.2", "The commit of a member contains an ExternalInit."};
  case rule::external_init_not_one:
    return {"12.2", "An external commit does not contain exactly one ExternalInit."};
  case rule::external_commit_with_other_proposal:
    return {"12.2", "An external commit contains a proposal of a type that only members may commit."};
  case rule::external_commit_removes_many:
    return {"12.2", "An external commit removes more than one member."};
  case rule::external_commit_with_reference:
    return {"12.4.3.2", "An external commit refers to a proposal that was sent before."};
  case rule::extensions_changed_twice:
    return {"12.2", "Two proposals replace the extensions of the group."};
  case rule::extensions_not_supported_by_all:
    return {"12.1.7", "The new extensions of the group require something that a member does not support."};
  case rule::commit_without_path:
    return {"12.4", "The commit needs a path and has none."};
  case rule::unknown_proposal:
    return {"12.4.2", "The commit refers to a proposal that was not received in this epoch."};
  case rule::own_commit:
    return {"12.4.2", "The commit is this member's own: confirm the pending commit instead."};
  case rule::commit_wanted_first:
    return {"12.4", "Proposals were received. They have to be committed before application data is sent."};
  case rule::group_over:
    return {"12.4.2",
            "The group is over: this member was removed, or the group was re-initialized as another group."};
  case rule::epoch_gone:
    return {"", "The message belongs to an epoch whose keys are no longer kept."};
  case rule::epoch_ahead:
    return {"", "The message belongs to an epoch that this member has not reached yet."};
  case rule::pending_out_of_date:
    return {"", "The pending commit belongs to an epoch that is over, or to another group."};
  case rule::group_exists:
    return {"12.4.3.1", "This client is already in a group with this id."};
  case rule::ratchet_tree_missing:
    return {"12.4.3.3", "The ratchet tree was neither in the message nor passed separately."};
  case rule::own_leaf_missing:
    return {"12.4.3.1", "The tree does not contain the leaf of the key package."};
  case rule::external_pub_missing:
    return {"12.4.3.2", "The GroupInfo has no external_pub extension."};
  case rule::unexpected_message:
    return {"6", "A message of this kind is not expected here."};
  case rule::handshake_not_public:
    return {"6.3", "The handshake is encrypted, so a server cannot follow the group."};
  case rule::identity_mismatch:
    return {"", "The keys of the identity do not belong together."};
  case rule::too_many_proposals:
    return {"", "More proposals were received in this epoch than this library keeps."};
  case rule::state_damaged:
    return {"", "The stored parts are not a valid state of a group."};
  case rule::store_failed:
    return {"", "The store could not write or read a part of the group."};
  }
  return {"", "Refused."};
}

} // namespace parley::mls
