#pragma once
// The reason for a refusal: the rule that was broken, with the section of RFC 9420 that states it.
#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

namespace parley::mls {

/// The numbers are stable: append within a band, never renumber. error.cpp has the table with sections
/// and sentences; a test checks that every rule has a row there.
enum class rule : std::uint16_t {
  none = 0,
  // 1-99: bytes (sections 2 and 6).
  malformed = 1,     ///< truncated, trailing bytes, a length that is not minimal, an unknown discriminator
  too_large = 2,     ///< above one of our limits, not one of the RFC's
  wrong_version = 3, ///< not mls10
  wrong_cipher_suite = 4,
  // 100-199: framing and message protection (6).
  wrong_group = 100,
  wrong_epoch = 101,
  application_not_encrypted = 102,
  wrong_membership_tag = 103,
  unknown_sender = 104, ///< a blank leaf, or an external sender that does not exist
  external_not_a_proposal = 105,
  external_proposal_type = 106,
  joiner_not_a_commit = 107,
  joiner_without_path = 108,
  new_member_not_an_add = 109,
  padding_not_zero = 110,
  sender_not_a_member = 111, ///< where only a member is allowed
  wrong_confirmation_tag = 112,
  confirmation_tag_missing = 113,
  // 200-299: keys: HPKE, key schedule, secret tree (5.1, 8, 9).
  bad_signature = 200,
  cannot_open = 201,   ///< HPKE or AEAD
  bad_key = 202,       ///< a public or private key that is not valid
  crypto_failed = 203, ///< OpenSSL refused an operation that should never fail
  generation_used = 210,
  generation_too_far = 211,
  generations_exhausted = 212,
  leaf_outside_secret_tree = 213,
  export_too_long = 214,
  too_many_psks = 215,
  psk_nonce_wrong_length = 216,
  psk_unknown = 217,
  psk_usage_not_alone = 218,
  // 300-399: leaves, trees and paths (7).
  leaf_bad_signature = 300,
  duplicate_extension = 301,
  leaf_wrong_source = 302,
  leaf_lacks_version = 303,
  leaf_lacks_cipher_suite = 304,
  leaf_lacks_own_credential = 305,
  leaf_lacks_own_extension = 306,
  leaf_lacks_required_extension = 307,
  leaf_lacks_required_proposal = 308,
  leaf_lacks_required_credential = 309,
  leaf_lacks_group_extension = 310,
  leaf_not_yet_valid = 311,
  leaf_expired = 312,
  leaf_lives_too_long = 313,
  credential_not_supported_by_all = 314,
  leaf_lacks_credential_in_use = 315,
  leaf_key_not_fresh = 316,
  duplicate_signature_key = 317,
  duplicate_encryption_key = 318,
  credential_unknown_type = 319,
  credential_refused = 320,
  credential_expired = 321,
  credential_unexpected_account = 322,
  credential_not_a_successor = 323,
  tree_blank_at_end = 340,
  tree_wrong_node_type = 341,
  tree_too_large = 342,
  tree_hash_mismatch = 343,
  parent_hash_invalid = 344,
  unmerged_leaf_not_below = 345,
  unmerged_leaf_missing_between = 346,
  unmerged_leaves_not_sorted = 347,
  duplicate_parent_key = 348,
  no_such_leaf = 349,
  path_wrong_length = 360,
  path_wrong_ciphertexts = 361,
  path_key_in_use = 362,
  path_wrong_parent_hash = 363,
  path_key_mismatch = 364,
  path_not_for_us = 365,
  path_secret_mismatch = 366,
  private_key_mismatch = 367,
  // 400-499: key packages, proposals and commits (10, 12).
  key_package_wrong_version = 400,
  key_package_wrong_cipher_suite = 401,
  key_package_bad_signature = 402,
  key_package_init_key_reused = 403, // 404 was used, for a duty of creators that no receiver checks
  update_not_from_member = 420,
  update_of_committer = 421,
  remove_of_committer = 422,
  leaf_changed_twice = 423,
  client_added_twice = 424,
  psk_twice = 425,
  psk_usage_out_of_place = 426,
  reinit_to_older_version = 427,
  reinit_not_alone = 428,
  external_init_by_member = 429,
  external_init_not_one = 430,
  external_commit_with_other_proposal = 431,
  external_commit_removes_many = 432,
  external_commit_with_reference = 433,
  extensions_changed_twice = 434,
  extensions_not_supported_by_all = 435,
  commit_without_path = 440,
  unknown_proposal = 441,
  own_commit = 443,
  commit_wanted_first = 444,
  // 500-599: groups: creating, joining, leaving (11, 12.4.3).
  welcome_not_for_us = 500,
  group_info_bad_signature = 501,
  group_over = 510,
  epoch_gone = 511,
  epoch_ahead = 512,
  pending_out_of_date = 514,
  group_exists = 515,
  ratchet_tree_missing = 516,
  own_leaf_missing = 517,
  external_pub_missing = 518,
  identity_mismatch = 519,
  unexpected_message = 520,
  handshake_not_public = 521, ///< an encrypted handshake, seen by a follower that has no secrets
  // 600-699: the caller's side: states, policies, the store.
  state_damaged = 600,
  too_many_proposals = 601,
  store_failed = 602,
};

struct error {
  rule broken = rule::none;
  friend bool operator==(error, error) = default;
};

/// The section of RFC 9420 (such as "7.3"; empty for rules of our own) and one sentence.
struct rule_text {
  std::string_view section, sentence;
};
rule_text describe(rule r);

template <class T>
using result = tl::expected<T, error>;
inline tl::unexpected<error> refuse(rule r) {
  return tl::unexpected(error{r});
}

} // namespace parley::mls
