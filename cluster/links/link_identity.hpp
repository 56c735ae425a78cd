#pragma once
// The identity of a node, proved with its TLS key. TLS ensures that a peer has *some* certificate of the node
// authority, but does not check the name in it. So links prove the name themselves, with signatures over the
// nonces of both sides.
//
// Thread: any; immutable after `load`.
#include "cluster/links/node_start.hpp"
#include "protocol/values/types.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

struct evp_pkey_st;
struct x509_st;
struct x509_store_st;

namespace parley::cluster {

/// A peer whose certificate is valid. It has not proved yet that it has the key: `verify` a
/// signature before trusting it.
struct peer_certificate {
  node_id node{};
  std::shared_ptr<evp_pkey_st> key;
  bool verify(std::string_view bytes, std::string_view signature) const;
};

/// N, if the certificate has exactly one name of the form node-N.parley.
std::optional<node_id> node_named_in(const x509_st* certificate);

class link_identity {
public:
  /// Fails if a file is unreadable or unfit, or if the certificate is not this node's or not of this
  /// authority. The error is a sentence for the operator.
  static tl::expected<link_identity, std::string>
  load(node_id node, const std::string& cert_file, const std::string& key_file, const std::string& ca_file);

  node_id node() const { return node_; }
  const std::string& certificate() const { return certificate_; }
  std::string sign(std::string_view bytes) const;
  /// Checks chain, validity, and that there is exactly one name node-N.parley.
  tl::expected<peer_certificate, std::string> check(std::string_view pem) const;

private:
  node_id node_{};
  std::string certificate_;
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_store_st> authority_;
};

/// 32 bytes from the system's generator.
std::string random_nonce();

/// The values that both sides sign: everything that the handshake agreed on, and which side signs.
struct handshake_facts {
  bool is_query = false;
  std::uint64_t caller = 0, door = 0;
  std::string caller_nonce, door_nonce;
  std::uint64_t session = 0;
  std::uint32_t caller_min = 0, caller_max = 0,
                version = 0; ///< signed, so that an attacker between them cannot lower it
  node_start caller_start{}, door_start{};
  start_verdict verdict{};        ///< of the door's start: signed by the caller only
  std::string for_door() const;   ///< the bytes that the door signs
  std::string for_caller() const; ///< the bytes that the caller signs
};

} // namespace parley::cluster
