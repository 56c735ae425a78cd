#pragma once
// The cryptography that a gateway needs besides TLS.
#include "actors/core/commands.hpp"
#include "protocol/gateway/address_limits.hpp"
#include "protocol/values/chance.hpp"
#include "protocol/values/types.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace parley::gateway {

inline constexpr std::size_t device_key_bytes = 32; ///< an Ed25519 public key

/// `code_digits` digits; all codes are equally likely.
std::string random_code(chance& dice);
/// Of the request for a code: `code_ticket_bytes`, not to be guessed.
std::string random_ticket(chance& dice);
/// What the phone's shard keeps of a ticket.
body_hash hash_of_ticket(std::string_view ticket);
/// SHA-256 of ticket ‖ phone ‖ 0 ‖ code: what the phone's shard keeps of a code. The ticket is a salt that is not
/// stored, so who reads a node's disk cannot try all codes.
body_hash hash_of_code(std::string_view ticket, std::string_view phone, std::string_view code);
/// Who asks for a code of `phone`, from an address in these networks: the widest of them, because whoever has a customer's
/// /48 has all addresses in it.
core::asker asker_of(std::string_view phone, const network_keys& from);
/// SHA-256 of a device's public key: what the phone's shard keeps of the key that used a code.
body_hash hash_of_key(std::span<const std::uint8_t, 32> key);
/// Derived from the key: to register the same key again is to register the same device.
device_id device_of_key(std::span<const std::uint8_t, 32> key);

/// Whether a key is one of the few points of small order (or another spelling of one): anybody can make
/// signatures that such a key verifies, for one message in eight at least.
bool is_weak_ed25519(std::span<const std::uint8_t, 32> key);
bool verify_ed25519(std::span<const std::uint8_t, 32> key, std::string_view message,
                    std::span<const std::uint8_t> signature);

} // namespace parley::gateway
