#pragma once
// What no client notices, because the library heals it or goes elsewhere: looked at from outside, once the faults
// are over. Thread: that of the cluster.
#include "tests/harness/cluster/process_cluster.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace parley::chaos {

/// A new user registers, logs in, opens a conversation with another new user and reads it, all through `node` alone,
/// within ten seconds. Returns what did not work; `none` if everything did.
std::optional<std::string> serves(test::process_cluster& cluster, std::size_t node);

/// The sum of a metric over all nodes and labels. A node that does not answer counts as 1, so that nothing that
/// waits for 0 ends too early.
std::uint64_t sum_of(const test::process_cluster& cluster, std::string_view metric);

} // namespace parley::chaos
