#pragma once
// Who a node is, proved with its TLS key. CAF's TLS makes sure that a peer holds *some* certificate of the
// node authority; it never looks at the name in it. So links prove the name themselves, over both sides'
// nonces.
//
// Thread: any; immutable after `load`.
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

/// A peer whose certificate was found good. Its key has not been used yet: `verify` a signature before
/// believing it.
struct peer_certificate {
  node_id node{};
  std::shared_ptr<evp_pkey_st> key;
  bool verify(std::string_view bytes, std::string_view signature) const;
};

/// The N of the certificate's only name of the form node-N.parley.
std::optional<node_id> node_named_in(const x509_st* certificate);

class identity {
public:
  /// Refuses what a node must not start with: unreadable or unfit files, a certificate that is not this
  /// node's, or not of this authority. The text is for the operator.
  static tl::expected<identity, std::string> load(node_id node, const std::string& cert_file,
                                                  const std::string& key_file, const std::string& ca_file);

  node_id node() const { return node_; }
  const std::string& certificate() const { return certificate_; }
  std::string sign(std::string_view bytes) const;
  /// Chain, validity, and exactly one name node-N.parley.
  tl::expected<peer_certificate, std::string> check(std::string_view pem) const;

private:
  node_id node_{};
  std::string certificate_;
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_store_st> authority_;
};

/// 32 bytes from the system's generator.
std::string random_nonce();

/// What both sides sign: everything that the handshake settled, and which side signs.
struct handshake_facts {
  bool is_query = false;
  std::uint64_t caller = 0, door = 0;
  std::string caller_nonce, door_nonce;
  std::uint64_t session = 0;
  std::uint32_t caller_min = 0, caller_max = 0,
                version = 0;      ///< so that nobody between them lowers the version
  std::string for_door() const;   ///< the door's signature is over this
  std::string for_caller() const; ///< the caller's over that
};

} // namespace parley::cluster
