#pragma once
// A device's Ed25519 key, and the proof it logs in with.
#include "protocol/client/values.hpp"

#include <string>
#include <string_view>

namespace parley::client {

/// Fresh, from the operating system's randomness. Throws std::runtime_error if there is none.
key_pair make_key();

std::array<std::uint8_t, 64> sign(const key_pair& key, std::string_view bytes);
body_hash hash(std::string_view body);

/// What both ends of a connection know when a device logs in.
struct login_facts {
  std::uint64_t cluster_hi = 0;
  std::uint64_t cluster_lo = 0;
  node_id node{};
  std::string challenge; ///< the node's, fresh
  user_id user{};
  device_id device{};
  std::array<std::uint8_t, 32> exporter{}; ///< of this very TLS connection
};

/// The exact bytes that `login` and `resume` sign; the schema says which.
std::string login_bytes(const login_facts& facts);

} // namespace parley::client
