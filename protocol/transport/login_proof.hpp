#pragma once
// What a device signs to log in: the same bytes at both ends. See `Gateway.login` in the schema.
#include "protocol/values/codec.hpp"

#include <array>
#include <string>
#include <string_view>

namespace parley::transport {

struct login_claim {
  cluster_id cluster;
  node_id node{};
  std::array<std::uint8_t, 32> challenge{};
  user_id user{};
  device_id device{};
  session_number session{};
  std::array<std::uint8_t, 32> exporter{}; ///< `message_stream::login_exporter`
};

inline std::string login_proof_bytes(const login_claim& c) {
  const auto view = [](const std::array<std::uint8_t, 32>& a) {
    return std::string_view{reinterpret_cast<const char*>(a.data()), a.size()};
  };
  key_writer w; // big-endian
  w.raw(std::string_view{"parley login v1\0", 16});
  w.put(c.cluster.hi).put(c.cluster.lo).put(c.node).raw(view(c.challenge));
  w.put(c.user).put(c.device).put(c.session).raw(view(c.exporter));
  return std::move(w).bytes();
}

} // namespace parley::transport
