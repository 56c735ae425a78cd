#pragma once
// Which process holds the other end of a connection on this machine.
//
// A node has one address for all its peers, and nodes do not choose the address that they call from. So the
// only thing that tells two callers apart below TLS is the process.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace parley::test {

/// Of `candidates`, the process that holds the socket that is connected from 127.0.0.1:`from` to
/// 127.0.0.1:`to`. Empty if none does, for example because it has already closed it.
std::optional<pid_t> holder_of(std::uint16_t from, std::uint16_t to, const std::vector<pid_t>& candidates);

} // namespace parley::test
