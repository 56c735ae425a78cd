#pragma once
// What CAF's TLS lacks. Most of it works by being linked: see caf_tls.cpp.
#include "cluster/link_outlet.hpp"

#include <cstdint>

namespace parley::cluster {

/// What CAF puts around a batch, or around a question or an answer: type names, certificates, signatures.
inline constexpr std::uint32_t caf_wrapping_bytes_max = 64 << 10;

/// A frame between nodes that announces more costs its sender the connection. Both sides have to agree on it,
/// so it is part of `link_version` and no setting: a batch is never above a window.
inline constexpr std::uint32_t caf_payload_bytes_max =
    outlet_config{}.window_bytes_max + caf_wrapping_bytes_max;

/// CAF negotiates the best version both sides have and offers no setting; a process-wide OpenSSL default
/// does.
void require_tls_1_3();

} // namespace parley::cluster
