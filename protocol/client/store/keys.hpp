#pragma once
// A device's Ed25519 key.
#include "protocol/client/values.hpp"

#include <string>
#include <string_view>

namespace parley::client {

/// A new key from the operating system's random generator. Throws std::runtime_error if that fails.
key_pair make_key();

std::array<std::uint8_t, login_signature_bytes> sign(const key_pair& key, std::string_view bytes);

} // namespace parley::client
