#pragma once
// Calls of the operating system that storage needs in more than one place. Internal to storage/.
#include <cstdint>
#include <string>

namespace parley::storage {

/// Syncs the entries of a directory: without it, a new file can be missing after a power failure, although
/// the file itself was synced. Returns 0 or an errno.
int sync_directory(const std::string& path);

} // namespace parley::storage
