#pragma once
// How content is authenticated and protected on its way (RFC 9420, sections 6.1 to 6.3).
//
// To send: sign_content, for a Commit set `auth.confirmation_tag` (it covers the signature), then protect.
// What was received is unprotected into the same structure. Every rule on who may send what, as far as the
// message itself tells, is checked in both directions.
#include "protocol/mls/framing.hpp"
#include "protocol/mls/key_schedule.hpp"
#include "protocol/mls/secret_tree.hpp"

#include <functional>

namespace parley::mls {

/// The epoch that messages are in, as everybody knows it. `encoded_context` is the encoded `context`: it is
/// part of each signature, and encoding it once is enough.
struct epoch_view {
  const group_context& context;
  bytes_view encoded_context;
  /// The signature key of a member or of an external sender; null where there is none.
  std::function<const public_key*(const sender&)> signature_key_of;
};

/// `key` is that of the sender (6.1). Without confirmation tag.
authenticated_content sign_content(wire_format format, framed_content content, const signature_key_pair& key,
                                   bytes_view encoded_context);

/// 6.2. The membership key counts for members only.
result<public_message> protect_public(authenticated_content content, const secret& membership_key,
                                      bytes_view encoded_context);
/// All but the membership tag: what somebody can check who has no secret of the group.
result<void> check_public(const public_message& message, const epoch_view& epoch);
result<authenticated_content> unprotect_public(public_message message, const secret& membership_key,
                                               const epoch_view& epoch);

/// 15.1. With classes an observer learns of a length only between which two of them it is: four to each
/// doubling, from 256 bytes on, so that never more than a quarter is added.
enum class padding : std::uint8_t { none, size_classes };
std::size_t padded_size(std::size_t content_size, padding how);

/// 6.3. Takes a key from the sender's ratchet: save the tree before the message leaves.
result<private_message> protect_private(const authenticated_content& content,
                                        const secret& sender_data_secret, secret_tree& keys, padding how,
                                        const random_source& random);
/// An authentic message, and the key that it was sealed with.
struct unprotected_private {
  authenticated_content content;
  pending_key key;
};
/// Forgets no key: `consume` it when the content was taken. A handshake may be authentic and still have to
/// wait, for a proposal that it names; the same message must open again then.
result<unprotected_private> unprotect_private(const private_message& message,
                                              const secret& sender_data_secret, secret_tree& keys,
                                              const epoch_view& epoch);

/// 6.3.2
struct sender_data_keys {
  secret key, nonce;
};
sender_data_keys sender_data_keys_of(const secret& sender_data_secret, bytes_view ciphertext);

} // namespace parley::mls
