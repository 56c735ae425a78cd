#pragma once
// A device's Ed25519 key.
#include "protocol/client/values.hpp"

#include <string>
#include <string_view>

namespace parley::client {

/// Fresh, from the operating system's randomness. Throws std::runtime_error if there is none.
key_pair make_key();

std::array<std::uint8_t, 64> sign(const key_pair& key, std::string_view bytes);
body_hash hash(std::string_view body);

} // namespace parley::client
