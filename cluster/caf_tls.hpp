#pragma once
// What CAF's TLS lacks. The rest works by being linked: see caf_tls.cpp.

namespace parley::cluster {

/// CAF negotiates the best version both sides have and offers no setting; a process-wide OpenSSL default
/// does.
void require_tls_1_3();

} // namespace parley::cluster
