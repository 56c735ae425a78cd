#pragma once
// How content is authenticated and protected in transit (RFC 9420, sections 6.1 to 6.3).
//
// To send: call sign_content, set `auth.confirmation_tag` for a Commit (it covers the signature), then
// protect. Received messages are unprotected into the same structure. All rules on which sender may
// send what are checked in both directions, as far as the message alone shows.
// message itself tells, is checked in both directions.
#include "protocol/mls/framing.hpp"
#include "protocol/mls/key_schedule.hpp"
#include "protocol/mls/secret_tree.hpp"

#include <functional>

namespace parley::mls {

/// The public state of the epoch that messages belong to. `encoded_context` is the encoding of
/// `context`, kept because every signature covers it.
struct epoch_view {
  const group_context& context;
  bytes_view encoded_context;
  /// Returns the signature key of a member or of an external sender; null if there is none.
  std::function<const public_key*(const sender&)> signature_key_of;
};

/// 6.1: `key` is the sender's. The confirmation tag is not set.
authenticated_content sign_content(wire_format format, framed_content content, const signature_key_pair& key,
                                   bytes_view encoded_context);

/// 6.2: the membership key is used for members only.
result<public_message> protect_public(authenticated_content content, const secret& membership_key,
                                      bytes_view encoded_context);
/// Checks all but the membership tag: what can be checked without any secret of the group.
result<void> check_public(const public_message& message, const epoch_view& epoch);
result<authenticated_content> unprotect_public(public_message message, const secret& membership_key,
                                               const epoch_view& epoch);

/// 15.1. With size classes an observer learns only the class of a length. There are four classes to
/// each doubling, from 256 bytes upwards, so padding adds at most a quarter.
enum class padding : std::uint8_t { none, size_classes };
std::size_t padded_size(std::size_t content_size, padding how);

/// 6.3. Takes a key from the sender's ratchet: save the secret tree before sending the message.
result<private_message> protect_private(const authenticated_content& content,
                                        const secret& sender_data_secret, secret_tree& keys, padding how,
                                        const random_source& random);
/// An authentic message, and the key that it was encrypted with.
struct unprotected_private {
  authenticated_content content;
  pending_key key;
};
/// Deletes no key: call `consume` with it once the content was accepted. An authentic handshake may
/// have to wait for a proposal that it refers to, and then the same message must open again.
result<unprotected_private> unprotect_private(const private_message& message,
                                              const secret& sender_data_secret, secret_tree& keys,
                                              const epoch_view& epoch);

/// Section 6.3.2.
struct sender_data_keys {
  secret key, nonce;
};
sender_data_keys sender_data_keys_of(const secret& sender_data_secret, bytes_view ciphertext);

} // namespace parley::mls
