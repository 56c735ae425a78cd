#pragma once
// The encoding of proposals and Commits (RFC 9420, sections 12.1 and 12.4). proposal_rules.hpp decides
// which lists of them are valid and what they do to a group.
#include "protocol/mls/leaf_node.hpp"
#include "protocol/mls/psk.hpp"
#include "protocol/mls/tree_kem.hpp"

#include <optional>
#include <variant>
#include <vector>

namespace parley::mls {

struct add_proposal {
  mls::key_package key_package;
  friend bool operator==(const add_proposal&, const add_proposal&) = default;
};
struct update_proposal {
  mls::leaf_node leaf_node;
  friend bool operator==(const update_proposal&, const update_proposal&) = default;
};
struct remove_proposal {
  leaf_index removed{};
  friend bool operator==(const remove_proposal&, const remove_proposal&) = default;
};
struct psk_proposal {
  pre_shared_key_id psk;
  friend bool operator==(const psk_proposal&, const psk_proposal&) = default;
};
struct reinit_proposal {
  bytes group_id;
  std::uint16_t version = mls10;
  std::uint16_t cipher_suite = cipher_suite_1;
  extension_list extensions;
  friend bool operator==(const reinit_proposal&, const reinit_proposal&) = default;
};
struct external_init_proposal {
  bytes kem_output;
  friend bool operator==(const external_init_proposal&, const external_init_proposal&) = default;
};
struct group_context_extensions_proposal {
  extension_list extensions;
  friend bool operator==(const group_context_extensions_proposal&,
                         const group_context_extensions_proposal&) = default;
};

/// A proposal of an unknown type does not decode, because its length is unknown.
struct proposal {
  std::variant<add_proposal, update_proposal, remove_proposal, psk_proposal, reinit_proposal,
               external_init_proposal, group_context_extensions_proposal>
      body;
  proposal_type type() const { return static_cast<proposal_type>(body.index() + 1); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&body);
  }
  friend bool operator==(const proposal&, const proposal&) = default;
};

/// 12.1.8: the types that a sender outside the group may propose.
constexpr bool external_sender_may_send(proposal_type t) {
  switch (t) {
  case proposal_type::add:
  case proposal_type::remove:
  case proposal_type::psk:
  case proposal_type::reinit:
  case proposal_type::group_context_extensions:
    return true;
  default:
    return false;
  }
}
/// 12.4: a Commit that covers one of these must have a path.
constexpr bool requires_path(proposal_type t) {
  return t != proposal_type::add && t != proposal_type::psk && t != proposal_type::reinit;
}

/// 5.2: the hash of the AuthenticatedContent that contained the proposal.
struct proposal_ref {
  bytes hash;
  auto operator<=>(const proposal_ref&) const = default;
};

struct proposal_or_ref {
  std::variant<mls::proposal, mls::proposal_ref> body;
  friend bool operator==(const proposal_or_ref&, const proposal_or_ref&) = default;
};

struct commit {
  std::vector<proposal_or_ref> proposals;
  std::optional<update_path> path;
  friend bool operator==(const commit&, const commit&) = default;
};

/// Section 12.1.8.1.
struct external_sender {
  public_key signature_key{};
  mls::credential credential;
  friend bool operator==(const external_sender&, const external_sender&) = default;
};
/// The external senders in a group's extensions; empty if there is no such extension.
result<std::vector<external_sender>> external_senders_of(const extension_list& group_extensions);
extension to_extension(const std::vector<external_sender>& v);

void encode(encoder& e, const add_proposal& v);
void decode(decoder& d, add_proposal& v);
void encode(encoder& e, const update_proposal& v);
void decode(decoder& d, update_proposal& v);
void encode(encoder& e, const remove_proposal& v);
void decode(decoder& d, remove_proposal& v);
void encode(encoder& e, const psk_proposal& v);
void decode(decoder& d, psk_proposal& v);
void encode(encoder& e, const reinit_proposal& v);
void decode(decoder& d, reinit_proposal& v);
void encode(encoder& e, const external_init_proposal& v);
void decode(decoder& d, external_init_proposal& v);
void encode(encoder& e, const group_context_extensions_proposal& v);
void decode(decoder& d, group_context_extensions_proposal& v);
void encode(encoder& e, const proposal& v);
void decode(decoder& d, proposal& v);
void encode(encoder& e, const proposal_or_ref& v);
void decode(decoder& d, proposal_or_ref& v);
void encode(encoder& e, const commit& v);
void decode(decoder& d, commit& v);
void encode(encoder& e, const external_sender& v);
void decode(decoder& d, external_sender& v);

} // namespace parley::mls
