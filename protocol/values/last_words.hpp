#pragma once
// What a process says on standard error when it cannot go on. Nobody may read it, so nothing here waits longer
// than a second.
#include <string_view>

namespace parley {

/// Writes one line. Thread: any; may be called from a signal handler.
void last_words(std::string_view line) noexcept;

/// Writes one line and ends the process with status 1, without destructors. A sentence and a status are better
/// than an abort: a service manager restarts both, but the latter fills the disk with core dumps.
[[noreturn]] void end_process(std::string_view line) noexcept;

inline constexpr std::string_view full_disk_advice = "The disk is full: free space on the disk of the data "
                                                     "directory, or enlarge it, then start the node again";

/// What to do with a data directory that cannot be used any more. It follows the sentence that says why. A node does not know
/// here whether others have its rows: of a cluster of one this directory is the only copy.
inline constexpr std::string_view replace_directory_advice =
    "If other nodes have replicas of its shards, set the data directory aside, start this node with an empty "
    "one, and let "
    "them fill it; if none have, the directory is the only copy: keep it";

} // namespace parley
