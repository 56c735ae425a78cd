#pragma once
// Messages that no honest member would send: they are changed and then signed, tagged and encrypted
// with the sender's real keys, so that a rule refuses them and not a signature.
#include "tests/protocol/mls/fuzz/scenario.hpp"

namespace parley::mls::fuzz {

struct mending {
  bool leaves = false;        ///< leaves and key packages inside are signed again
  bool parent_hashes = false; ///< also, the leaf of a path gets the parent hash of its path
};

/// A step, and a member of the group at that time whose keys are used for forging.
class forger {
public:
  explicit forger(const step& at);
  group& insider() { return insider_; }
  std::size_t insider_number() const { return who_; }

  /// Sent by the sender that the content names; the confirmation tag is the recorded one.
  bytes in_public(framed_content content, const mending& how);
  /// The encrypted form; `padding` is appended to the content.
  bytes in_private(framed_content content, const mending& how, bytes_view padding);
  /// Encrypts arbitrary bytes as the content of a PrivateMessage of this type. The sender data precedes them.
  bytes raw_in_private(content_type type, bytes_view sender_data_and_plaintext);
  /// The sender data (leaf, generation, reuse guard) of the insider's next message.
  bytes own_sender_data(content_type type);
  framed_content recorded_content() const { return recorded_content_; }
  const std::optional<bytes>& recorded_tag() const { return recorded_auth_.confirmation_tag; }
  const framed_content_auth& recorded_auth() const { return recorded_auth_; }

private:
  const signature_key_pair& signer_for(const framed_content& content) const;
  void mend(framed_content& content, const mending& how);
  void mend_leaf(leaf_node& leaf, const leaf_place& place) const;
  void mend_commit(commit& c, const sender& from, const mending& how);
  void mend_proposal(proposal& p, const sender& from) const;

  const step& at_;
  std::size_t who_;
  group insider_;
  framed_content recorded_content_;
  framed_content_auth recorded_auth_;
};

/// A whole commit, from the list of proposals that it covers to its tag, for lists that the rules allow.
struct order {
  std::vector<proposal_or_ref> list;
  bool path = true;
  bytes authenticated_data;
  extension_list leaf_extensions;
  mls::capabilities capabilities;
  mls::credential credential;
  bytes path_edits; ///< position (2 bytes) and mask (1 byte) of each change to the
                    ///< encoded path, after encryption
};
void encode(encoder& e, const order& v);
void decode(decoder& d, order& v);
order order_of(const step& at, group& insider);

struct forged_commit {
  bytes message;
  bytes authenticator; ///< of the epoch that it begins
};
/// Created by the insider, whose group cannot be used afterwards. An empty optional means that no
/// commit can be built on the list.
std::optional<forged_commit> commit_of(group& insider, const order& what, wire_format format);

} // namespace parley::mls::fuzz
