#pragma once
// The key that a profile's database is encrypted with, kept in a file beside it or elsewhere.
#include "protocol/mls/bytes.hpp"

#include <filesystem>

namespace parley::client {

inline constexpr std::size_t database_key_bytes = 32;

/// What the file holds: 32 bytes, readable by their owner only. Where there is neither the file nor a
/// database yet, the key is made, and is on disk under its name when this returns: no database is ever
/// written under a key that could still be lost. Throws `store_error`.
mls::secret key_from_file(const std::filesystem::path& key_file, const std::filesystem::path& database_file);

/// Throws a `store_error` that says what to do with a database of the time before they were encrypted.
void refuse_unencrypted(const std::filesystem::path& database_file);

} // namespace parley::client
