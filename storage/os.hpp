#pragma once
// The little that storage asks of the operating system in more than one place. Internal to storage/.
#include <cstdint>
#include <string>

namespace parley::storage {

/// Directory entries have their own sync: without it a whole new file can be gone after a power failure.
/// Answers 0 or an errno.
int sync_directory(const std::string& path);

} // namespace parley::storage
