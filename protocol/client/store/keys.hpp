#pragma once
// What a device draws from the operating system's random generator: its Ed25519 key, and tickets for codes.
#include "protocol/client/values.hpp"

#include <string>
#include <string_view>

namespace parley::client {

/// A new key from the operating system's random generator. Throws std::runtime_error if that fails.
key_pair make_key();

/// For one code: `code_ticket_bytes` that nobody can guess. Throws std::runtime_error as `make_key` does.
std::string make_ticket();

std::array<std::uint8_t, login_signature_bytes> sign(const key_pair& key, std::string_view bytes);

} // namespace parley::client
