#pragma once
// The little cryptography that a gateway needs, on OpenSSL.
#include "protocol/values/types.hpp"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace parley::gateway {

body_hash sha256(std::initializer_list<std::string_view> parts);

/// From the system's generator; a process that has none stops.
void fill_random(std::span<std::uint8_t> out);
std::uint64_t random_nonzero();

/// Six digits, each of the million equally likely.
std::string random_code();
/// SHA-256 of phone ‖ 0 ‖ code: what the phone's shard keeps of a code.
body_hash hash_of_code(std::string_view phone, std::string_view code);
/// Derived from the key, so that registering it again is the same device.
device_id device_of_key(std::span<const std::uint8_t, 32> key);

bool verify_ed25519(std::span<const std::uint8_t, 32> key, std::string_view message,
                    std::span<const std::uint8_t> signature);

} // namespace parley::gateway
