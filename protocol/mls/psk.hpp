#pragma once
// Pre-shared keys (RFC 9420, section 8.4).
#include "protocol/mls/codec.hpp"
#include "protocol/mls/crypto.hpp"

#include <vector>

namespace parley::mls {

enum class psk_type : std::uint8_t { external = 1, resumption = 2 };
enum class resumption_usage : std::uint8_t { application = 1, reinit = 2, branch = 3 };

struct pre_shared_key_id {
  psk_type type = psk_type::external;
  bytes id;                                               ///< used if external
  resumption_usage usage = resumption_usage::application; ///< used if resumption, like the next two
  bytes group_id;
  std::uint64_t epoch = 0;
  bytes nonce; ///< random and new each time the key is injected; as long as a hash
  friend bool operator==(const pre_shared_key_id&, const pre_shared_key_id&) = default;
};
void encode(encoder& e, const pre_shared_key_id& v);
void decode(decoder& d, pre_shared_key_id& v);

pre_shared_key_id external_psk(bytes id, const random_source& random);
pre_shared_key_id resumption_psk(resumption_usage usage, bytes group_id, std::uint64_t epoch,
                                 const random_source& random);
/// Section 12.1.4.
result<void> check_nonce(const pre_shared_key_id& id);
/// 12.4.3.1: a key for re-initialization or branching must be the only one.
result<void> check_usages(const std::vector<pre_shared_key_id>& ids);

struct pre_shared_key {
  pre_shared_key_id id;
  secret key;
};
/// Computed from these keys in this order; zeros if there are none.
result<secret> psk_secret(const std::vector<pre_shared_key>& keys);

} // namespace parley::mls
