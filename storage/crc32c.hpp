#pragma once
// CRC-32C (Castagnoli; RFC 3720, appendix B.4): it finds damaged records. LMDB has no checksums of its own,
// and Debian 12 packages no library for this one.
#include <cstdint>
#include <string_view>

namespace parley::storage {

/// The checksum of `bytes` that follow bytes with the checksum `before`:
/// crc32c(b, crc32c(a)) == crc32c(a + b).
/// Uses the processor's instruction (SSE4.2) if it has one, which is determined once, at the first call.
std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0);

/// The same checksum by table, which works on any processor. For tests, and as the reference.
std::uint32_t crc32c_by_table(std::string_view bytes, std::uint32_t before = 0);

} // namespace parley::storage
