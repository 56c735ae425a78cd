#pragma once
// Calls of the operating system that storage needs in more than one place, and what it means when they fail. Internal to
// storage/.
#include "protocol/values/errors.hpp"
#include "storage/disk_fault.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace parley::storage {

/// Syncs the entries of a directory: without it, a new file can be missing after a power failure, although
/// the file itself was synced. Returns 0 or an errno.
int sync_directory(const std::string& path);

/// Fills `to` with what the file has there. 0, or an errno; EIO if the file ends before.
int read_at(int file, std::uint64_t at, std::string& to);
/// Writes all of `bytes`. 0, or an errno.
int write_at(int file, std::uint64_t at, std::string_view bytes);
/// What the operator is told when a call failed with that errno: "cannot read PATH: ...", with advice.
disk_fault cannot(const char* doing, const std::string& path, int error);

/// For the user of this process, where `directory` is; 0 also if the disk cannot say.
std::uint64_t bytes_free_on_disk(const std::string& directory);

/// Whether a write failed because the disk is full, of which so much was free afterwards. LMDB calls a write that stopped
/// half-way an input/output error.
bool stopped_by_full_disk(int error, std::uint64_t bytes_free);

/// What to do about a file that is not the one which belongs there.
inline constexpr std::string_view restore_advice =
    "Restore it, or start this node with an empty data directory; other replicas, if there are any, fill it";

/// What a process says, after the reason, that ends because a write failed.
std::string advice_after_failed_write(ec why);

} // namespace parley::storage
