#pragma once
// The key that a profile's database is encrypted with, kept in a file beside it or elsewhere.
#include "protocol/mls/bytes.hpp"

#include <filesystem>

namespace parley::client {

inline constexpr std::size_t database_key_bytes = 32;

/// The key in the file: 32 bytes, readable by their owner only. If there is neither the file nor a database
/// yet, a key is created, and it is on disk under its name when this returns. So no database is ever
/// encrypted under a key that could still be lost. Throws `store_error`.
mls::secret key_from_file(const std::filesystem::path& key_file, const std::filesystem::path& database_file);

/// Throws a `store_error` for a database that is not encrypted, as older programs wrote it. The
/// sentence says what to do.
void refuse_unencrypted(const std::filesystem::path& database_file);

} // namespace parley::client
